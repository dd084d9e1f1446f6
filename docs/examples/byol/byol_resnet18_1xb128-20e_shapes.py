"""BYOL with a narrow ResNet-18 on the embedded shapes: a method that mmssl does not know."""

_base_ = '../../../configs/_base_/pretrain.py'
custom_imports = dict(imports=['byol'], allow_failed_imports=False)     # byol.py beside this file

data_root = 'data/shapes/'
crop = dict(type='RandomView', size=48, scale=(0.2, 1.0), jitter=(0.4, 0.4, 0.2, 0.1))
views = [dict(crop, blur=1.0, sigma=(0.1, 1.0)), dict(crop, blur=0.1, solarize=0.2)]
train_dataloader = dict(
    batch_size=128, num_workers=2,
    dataset=dict(pipeline=[dict(type='LoadImage'), dict(type='MultiView', views=views)]))

model = dict(
    type='BYOL',
    backbone=dict(type='ResNet', depth=18, width=16),
    neck=dict(type='MLP', dims=(128, 1024, 128)),
    head=dict(type='MLP', dims=(128, 1024, 128)),                       # the predictor
    momentum=dict(start=0.996, final=1.0))

optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=5e-4))
param_scheduler = [dict(type='ScheduleParam', param_name='lr', final=0.0, warmup=2)]
train_cfg = dict(max_epochs=20, val_interval=5, val_at_start=True)

val_dataloader = dict(
    num_workers=2,
    dataset=dict(
        per_class=None,
        pipeline=[dict(type='LoadImage'), dict(type='CenterView', size=48, resize=48)]))
val_cfg = dict(k=(20, 10), bank=dict(split='train'))
