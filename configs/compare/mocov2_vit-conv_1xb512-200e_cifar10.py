"""MoCo v2 beside the other methods: same network and images seen, the two global views."""

_base_ = './_base_/cifar10.py'

multi = dict(type='MultiView', views={{_base_.pair}})
train_dataloader = dict(dataset=dict(pipeline=[dict(type='LoadImage'), multi]))

model = dict(
    type='MoCo',
    queue_length=16384,
    neck=dict(type='MLP', dims=(192, 2048, 256), bias=True, hidden_norm=False),
    head=dict(type='ContrastiveHead', temperature=0.2),
    momentum=dict(start=0.99, shape='constant'))

optim_wrapper = dict(optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.1))
param_scheduler = [dict(type='ScheduleParam', param_name='lr', final=0.0, warmup=10)]
