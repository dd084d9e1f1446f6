"""Linear probe on ImageNet: a frozen backbone, one linear layer, 90 epochs, accuracy after each."""

pretrained = None   # --cfg-options pretrained=PATH|URL|NAME
data_root = 'data/imagenet/'
loader = dict(batch_size=128, num_workers=8, persistent_workers=True, pin_memory=True)
train_dataloader = dict(
    loader,
    drop_last=False,   # as the official probes; MoBY's drops it
    sampler=dict(type='EpochSampler', shuffle=True),
    dataset=dict(
        type='ImageDataset',
        split='train',
        pipeline=[dict(type='LoadImage'), dict(type='TrainView', size=224)]))
val_dataloader = dict(
    loader,
    sampler=dict(type='EpochSampler', shuffle=False),
    dataset=dict(
        type='ImageDataset',
        split='val',
        pipeline=[
            dict(type='LoadImage'),
            dict(type='CenterView', size=224, resize=256, interpolation='bilinear')]))
test_dataloader = val_dataloader
val_evaluator = dict(type='Accuracy', topk=(1, 5))
test_evaluator = val_evaluator

model = dict(
    type='Classifier',
    frozen=True,
    head=dict(type='LinearHead', num_classes=1000))

optim_wrapper = dict(
    type='OptimWrapper',
    constructor='ParamGroupConstructor',
    optimizer=dict(type='SGD', momentum=0.9, weight_decay=0.0))
param_scheduler = [dict(type='ScheduleParam', param_name='lr', final=0.0, hold_epochs=True)]
auto_scale_lr = dict(base_batch_size=1024)
train_cfg = dict(type='EpochLoop', max_epochs=90)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
