"""MoCo v3 with a narrow ResNet-18 on your own images: what `mmssl pretrain` begins with.

`mmssl pretrain FOLDER` sets the folder, and the sizes, the batch and the length that fit it.
"""

_base_ = '../_base_/pretrain.py'

data_root = 'data/images/'
crop = dict(
    type='RandomView', size=64, scale=(0.2, 1.0), jitter=(0.4, 0.4, 0.4, 0.1), sigma=(0.1, 1.0))
views = [dict(crop, blur=0.5), dict(crop, blur=0.1, solarize=0.2)]
train_dataloader = dict(
    batch_size=128, num_workers=2,
    dataset=dict(
        split='', pipeline=[dict(type='LoadImage'), dict(type='MultiView', views=views)]))

model = dict(
    type='MoCoV3',
    backbone=dict(type='ResNet', depth=18, width=16),
    neck=dict(type='MLP', dims=(128, 512, 128), last_norm=True),
    head=dict(
        type='ContrastiveHead', temperature=0.2, scaled=True,
        predictor=dict(type='MLP', dims=(128, 512, 128), last_norm=True)),
    momentum=dict(start=0.99, final=1.0))

optim_wrapper = dict(optimizer=dict(type='AdamW', lr=2e-3, weight_decay=0.05))
param_scheduler = [dict(type='ScheduleParam', param_name='lr', final=0.0, warmup=2)]
train_cfg = dict(max_epochs=20, val_interval=4, val_at_start=True)
val_dataloader = dict(
    num_workers=2,
    dataset=dict(
        split='', with_label=False, per_class=None,
        pipeline=[dict(type='LoadImage'), dict(type='CenterView', size=64, resize=64)]))
val_cfg = dict(k=(20, ), bank=dict(split='', with_label=False, per_class=None))
