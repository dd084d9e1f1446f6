"""Fine-tuning on 1 or 10 % of ImageNet's labels as SwAV does: a list of images, 20 epochs."""

protocol = '1% labels'
pretrained = None   # --cfg-options pretrained=PATH|URL|NAME
data_root = 'data/imagenet/'
loader = dict(num_workers=8, persistent_workers=True, pin_memory=True)
train_dataloader = dict(
    loader,
    batch_size=32,
    drop_last=False,
    sampler=dict(type='EpochSampler', shuffle=True),
    dataset=dict(
        type='ImageDataset',
        split='train',
        subset='1percent.txt',   # below data_root
        pipeline=[dict(type='LoadImage'), dict(type='TrainView', size=224)]))
val_dataloader = dict(
    loader,
    batch_size=128,
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
    frozen=False,
    head=dict(type='LinearHead', num_classes=1000, init_std=None, zero_bias=False))

optim_wrapper = dict(
    type='OptimWrapper',
    constructor='ParamGroupConstructor',
    optimizer=dict(type='SGD', momentum=0.9, weight_decay=0.0))
param_scheduler = [
    dict(
        type='ScheduleParam', param_name='lr', shape='step', milestones=(12, 16), gamma=0.2,
        hold_epochs=True)]
auto_scale_lr = dict(base_batch_size=256)
train_cfg = dict(type='EpochLoop', max_epochs=20)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
sync_bn = 'torch'
