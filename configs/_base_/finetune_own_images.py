"""Fine-tuning on a folder of your own images with classes: what `mmssl finetune` begins with."""

protocol = 'fine-tuning'
pretrained = None   # --cfg-options pretrained=PATH|URL|NAME
data_root = 'data/images/'
loader = dict(batch_size=64, num_workers=2, persistent_workers=True)
train_dataloader = dict(
    loader,
    drop_last=True,
    sampler=dict(type='EpochSampler', shuffle=True),
    dataset=dict(
        type='ImageDataset',
        split='',
        pipeline=[dict(type='LoadImage'), dict(type='TrainView', size=224, scale=(0.3, 1.0))]))
val_dataloader = dict(
    loader,
    sampler=dict(type='EpochSampler', shuffle=False),
    dataset=dict(
        type='ImageDataset',
        split='',
        pipeline=[
            dict(type='LoadImage'),
            dict(type='CenterView', size=224, resize=224, interpolation='bicubic')]))
test_dataloader = val_dataloader
val_evaluator = dict(type='Accuracy', topk=(1, 5))
test_evaluator = val_evaluator

model = dict(
    type='Classifier', head=dict(type='LinearHead', num_classes=2, label_smoothing=0.1))

rules = [dict(layer_decay=0.75), dict(ndim=1, decay_mult=0.0)]
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='ParamGroupConstructor',
    optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.05),
    paramwise_cfg=dict(rules=rules))
param_scheduler = [dict(type='ScheduleParam', param_name='lr', final=0.0, warmup=1)]
train_cfg = dict(type='EpochLoop', max_epochs=10)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
