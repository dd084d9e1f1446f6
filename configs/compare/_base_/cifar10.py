"""What all methods share on CIFAR-10, for a GPU: images, views, network, images seen."""

_base_ = '../../_base_/pretrain_cifar10.py'

crop = dict(type='RandomView', size=32, jitter=(0.4, 0.4, 0.2, 0.1))
pair = [dict(crop, scale=(0.2, 1.0)), dict(crop, scale=(0.2, 1.0), solarize=0.2)]
crops = [*pair, dict(crop, size=16, scale=(0.05, 0.3), repeat=4)]
train_dataloader = dict(
    batch_size=512,
    dataset=dict(pipeline=[dict(type='LoadImage'), dict(type='MultiView', views=crops)]))
model = dict(
    backbone=dict(
        type='VisionTransformer', arch=(192, 9, 3), img_size=32, patch_size=4,
        positions='sincos', stem='conv', init='moco'))
train_cfg = dict(max_epochs=200, val_interval=10, val_at_start=True)
