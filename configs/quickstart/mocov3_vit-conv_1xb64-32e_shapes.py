"""MoCo v3 with a small convolutional-stem ViT on the embedded shapes, minutes on two cores."""

_base_ = '../_base_/pretrain.py'

data_root = 'data/shapes/'
# colour tells pictures of shapes apart, not their classes: take most of it away
crop = dict(
    type='RandomView', size=32, scale=(0.2, 1.0), jitter=(0.4, 0.4, 0.4, 0.5), jitter_p=1.0,
    gray=0.5, sigma=(0.1, 1.0))
views = [dict(crop, blur=0.5), dict(crop, blur=0.1, solarize=0.2)]
train_dataloader = dict(
    batch_size=64, num_workers=2,
    dataset=dict(pipeline=[dict(type='LoadImage'), dict(type='MultiView', views=views)]))

model = dict(
    type='MoCoV3',
    backbone=dict(
        type='VisionTransformer', arch=(64, 2, 4), img_size=32, patch_size=8,
        positions='sincos', stem='conv', init='moco'),
    neck=dict(type='MLP', dims=(64, 512, 512, 128), last_norm=True),
    head=dict(
        type='ContrastiveHead', temperature=0.2, scaled=True,
        predictor=dict(type='MLP', dims=(128, 512, 128), last_norm=True)),
    momentum=dict(start=0.99, final=1.0))

optim_wrapper = dict(optimizer=dict(type='AdamW', lr=2e-3, weight_decay=0.05))
param_scheduler = [dict(type='ScheduleParam', param_name='lr', final=0.0, warmup=2)]
train_cfg = dict(max_epochs=32, val_interval=4, val_at_start=True)
val_dataloader = dict(
    num_workers=2,
    dataset=dict(
        per_class=None,
        pipeline=[dict(type='LoadImage'), dict(type='CenterView', size=48, resize=48)]))
val_cfg = dict(k=(20, 10), bank=dict(split='train', per_class=None))
