"""What all methods share on the embedded shapes: images, views, network, images seen."""

_base_ = '../../_base_/pretrain_imagenet.py'

data_root = 'data/shapes/'
crop = dict(     # colour tells pictures apart, not classes; narrower crops teach later
    type='RandomView', size=32, jitter=(0.4, 0.4, 0.4, 0.5), jitter_p=1.0, gray=0.5,
    sigma=(0.1, 1.0))
pair = [
    dict(crop, scale=(0.4, 1.0), blur=0.5),
    dict(crop, scale=(0.4, 1.0), blur=0.1, solarize=0.2)]
crops = [*pair, dict(crop, size=16, scale=(0.15, 0.5), repeat=4)]
train_dataloader = dict(
    batch_size=64, num_workers=2,
    dataset=dict(pipeline=[dict(type='LoadImage'), dict(type='MultiView', views=crops)]))
model = dict(
    backbone=dict(
        type='VisionTransformer', arch=(64, 2, 4), img_size=32, patch_size=8,
        positions='sincos', stem='conv', init='moco'))

train_cfg = dict(max_epochs=16, val_interval=4, val_at_start=True)
val_dataloader = dict(
    num_workers=2,
    dataset=dict(
        per_class=None,
        pipeline=[dict(type='LoadImage'), dict(type='CenterView', size=48, resize=48)]))
val_cfg = dict(k=(20, 10), bank=dict(split='train', per_class=None))
