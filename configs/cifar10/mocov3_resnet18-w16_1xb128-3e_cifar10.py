"""MoCo v3 with a quarter-width ResNet-18 on CIFAR-10: a quarter of an hour on two cores."""

_base_ = '../_base_/pretrain_cifar10.py'

crop = dict(type='RandomView', size=32, scale=(0.2, 1.0), jitter=(0.4, 0.4, 0.4, 0.1))
views = [crop, dict(crop, solarize=0.2)]
train_dataloader = dict(
    batch_size=128, num_workers=2,
    dataset=dict(pipeline=[dict(type='LoadImage'), dict(type='MultiView', views=views)]))

model = dict(
    type='MoCoV3',
    backbone=dict(type='ResNet', depth=18, width=16, small_stem=True),
    neck=dict(type='MLP', dims=(128, 512, 128), last_norm=True),
    head=dict(
        type='ContrastiveHead', temperature=0.2, scaled=True,
        predictor=dict(type='MLP', dims=(128, 512, 128), last_norm=True)),
    momentum=dict(start=0.99, final=1.0))

optim_wrapper = dict(optimizer=dict(type='AdamW', lr=2e-3, weight_decay=0.05))
param_scheduler = [dict(type='ScheduleParam', param_name='lr', final=0.0, warmup=1)]
train_cfg = dict(max_epochs=3, val_interval=1, val_at_start=True)
val_dataloader = dict(num_workers=2)
val_cfg = dict(bank=dict(per_class=1000))
default_hooks = dict(checkpoint=dict(interval=1))
