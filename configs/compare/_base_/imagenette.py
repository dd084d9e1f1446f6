"""Settings that all methods share on Imagenette: images, views, network, length. For one GPU."""

data_root = 'data/imagenette128/'
crop = dict(type='RandomView', size=128, jitter=(0.4, 0.4, 0.2, 0.1))
pair = [
    dict(crop, scale=(0.2, 1.0), blur=1.0),
    dict(crop, scale=(0.2, 1.0), blur=0.1, solarize=0.2)]
crops = [*pair, dict(crop, size=64, scale=(0.05, 0.3), blur=0.5, repeat=4)]
train_dataloader = dict(
    batch_size=256,
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
    batch_size=128,
    num_workers=4,
    pin_memory=True,
    sampler=dict(type='EpochSampler', shuffle=False),
    dataset=dict(
        type='ImageDataset',
        split='val',
        per_class=None,
        pipeline=[dict(type='LoadImage'), dict(type='CenterView', size=128, resize=128)]))
val_cfg = dict(type='KNNLoop', k=(20, 200), bank=dict(split='train', per_class=None))

model = dict(     # patches of 8 in 128 px: as many as 16 in 224 px, nearly
    backbone=dict(
        type='VisionTransformer', arch='small', img_size=128, patch_size=8,
        positions='sincos', stem='conv', init='moco'))
optim_wrapper = dict(type='OptimWrapper', constructor='ParamGroupConstructor')
