"""Settings that all methods share on the generated shapes: images, views, network, length."""

data_root = 'data/shapes/'
crop = dict(     # colour identifies images, not classes; with narrower crops accuracy rises later
    type='RandomView', size=32, jitter=(0.4, 0.4, 0.4, 0.5), jitter_p=1.0, gray=0.5,
    sigma=(0.1, 1.0))
pair = [
    dict(crop, scale=(0.4, 1.0), blur=0.5),
    dict(crop, scale=(0.4, 1.0), blur=0.1, solarize=0.2)]
crops = [*pair, dict(crop, size=16, scale=(0.15, 0.5), repeat=4)]
train_dataloader = dict(
    batch_size=64,
    num_workers=2,
    persistent_workers=True,
    pin_memory=True,
    drop_last=True,
    sampler=dict(type='EpochSampler', shuffle=True),
    dataset=dict(
        type='ImageDataset',
        split='train',
        pipeline=[dict(type='LoadImage'), dict(type='MultiView', views=crops)]))
train_cfg = dict(type='EpochLoop', max_epochs=16, val_interval=4, val_at_start=True)
val_dataloader = dict(
    batch_size=128,
    num_workers=2,
    pin_memory=True,
    sampler=dict(type='EpochSampler', shuffle=False),
    dataset=dict(
        type='ImageDataset',
        split='val',
        per_class=None,
        pipeline=[dict(type='LoadImage'), dict(type='CenterView', size=48, resize=48)]))
val_cfg = dict(type='KNNLoop', k=(20, 10), bank=dict(split='train', per_class=None))

model = dict(
    backbone=dict(
        type='VisionTransformer', arch=(64, 2, 4), img_size=32, patch_size=8,
        positions='sincos', stem='conv', init='moco'))
optim_wrapper = dict(type='OptimWrapper', constructor='ParamGroupConstructor')
