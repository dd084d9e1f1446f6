"""MoCo v3 beside the other methods: same network and images seen, the two global views."""

_base_ = './_base_/cifar10.py'

multi = dict(type='MultiView', views={{_base_.pair}})
train_dataloader = dict(dataset=dict(pipeline=[dict(type='LoadImage'), multi]))

model = dict(
    type='MoCoV3',
    neck=dict(type='MLP', dims=(192, 2048, 2048, 256), last_norm=True),
    head=dict(
        type='ContrastiveHead', temperature=0.2, scaled=True,
        predictor=dict(type='MLP', dims=(256, 2048, 256), last_norm=True)),
    momentum=dict(start=0.99, final=1.0))

optim_wrapper = dict(optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.1))
param_scheduler = [dict(type='ScheduleParam', param_name='lr', final=0.0, warmup=10)]
