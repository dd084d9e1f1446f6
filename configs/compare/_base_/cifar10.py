"""Settings that all methods share on CIFAR-10: images, views, network, length. For one GPU."""

data_root = 'data/cifar10/'
crop = dict(type='RandomView', size=32, jitter=(0.4, 0.4, 0.2, 0.1))
pair = [dict(crop, scale=(0.2, 1.0)), dict(crop, scale=(0.2, 1.0), solarize=0.2)]
crops = [*pair, dict(crop, size=16, scale=(0.05, 0.3), repeat=4)]
train_dataloader = dict(
    batch_size=512,
    num_workers=8,
    persistent_workers=True,
    pin_memory=True,
    drop_last=True,
    sampler=dict(type='EpochSampler', shuffle=True),
    dataset=dict(
        type='ImageDataset',
        split='train',
        pipeline=[dict(type='LoadImage'), dict(type='MultiView', views=crops)]))
train_cfg = dict(type='EpochLoop', max_epochs=200, val_interval=10, val_at_start=True)
val_dataloader = dict(
    batch_size=500,
    num_workers=4,
    pin_memory=True,
    sampler=dict(type='EpochSampler', shuffle=False),
    dataset=dict(
        type='ImageDataset',
        split='test',
        per_class=None,
        pipeline=[dict(type='LoadImage'), dict(type='CenterView', size=32, resize=32)]))
val_cfg = dict(
    type='KNNLoop', k=(200, 20), temperature=0.1, bank=dict(split='train', per_class=None))

model = dict(
    backbone=dict(
        type='VisionTransformer', arch=(192, 9, 3), img_size=32, patch_size=4,
        positions='sincos', stem='conv', init='moco'))
optim_wrapper = dict(type='OptimWrapper', constructor='ParamGroupConstructor')
