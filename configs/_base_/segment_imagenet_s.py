"""Segmentation of ImageNet-S after training on its few masks: ten images a class, 100 epochs."""

protocol = 'ImageNet-S919 segmentation'
pretrained = None   # --cfg-options pretrained=PATH|URL|NAME
data_root = 'data/ImageNetS919/'
view = dict(
    type='SegmentTrainView', size=224, scale=(0.14, 1.0), jitter=(0.8, 0.8, 0.8, 0.2), blur=0.5)
loader = dict(num_workers=8, persistent_workers=True, pin_memory=True)
train_dataloader = dict(
    loader,
    batch_size=32,
    drop_last=False,
    sampler=dict(type='EpochSampler', shuffle=True),
    dataset=dict(
        type='ImageDataset',
        split='train-semi',
        source=dict(type='ImageNetSSource'),
        pipeline=[dict(type='LoadImage'), view]))
val_dataloader = dict(
    loader,
    batch_size=1,   # images keep their sizes
    sampler=dict(type='EpochSampler', shuffle=False),
    dataset=dict(
        type='ImageDataset',
        split='validation',
        source=dict(type='ImageNetSSource'),
        pipeline=[dict(type='LoadImage'), dict(type='SegmentTestView', resize=256)]))
test_dataloader = val_dataloader
val_evaluator = dict(type='MeanIoU')
test_evaluator = val_evaluator

model = dict(
    type='Segmenter',
    backbone=dict(type='VisionTransformer', drop_path_rate=0.1, last_norm=False),
    head=dict(     # the classes and 'other'
        type='LinearHead', norm='layer', num_classes=920, init_std=2e-5, zero_bias=False))

rules = [
    dict(layer_decay=0.5),
    dict(ndim=1, decay_mult=0.0),
    dict(match='cls_token|pos_embed', decay_mult=0.0)]
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='ParamGroupConstructor',
    amp='float16',
    optimizer=dict(type='AdamW', lr=5e-4, weight_decay=0.05),
    paramwise_cfg=dict(rules=rules))
param_scheduler = [dict(type='ScheduleParam', param_name='lr', final=1e-6, warmup=5)]
auto_scale_lr = dict(base_batch_size=256)
train_cfg = dict(type='EpochLoop', max_epochs=100)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
