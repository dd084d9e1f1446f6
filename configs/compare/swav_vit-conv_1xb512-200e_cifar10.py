"""SwAV beside the other methods: same network and images seen, four local views more."""

_base_ = './_base_/cifar10.py'

model = dict(
    type='SwAV',
    neck=dict(type='MLP', dims=(192, 2048, 128), bias=True),
    head=dict(
        type='SwAVHead', dim=128, prototypes=512, temperature=0.1, epsilon=0.05,
        queue_length=4096, queue_start=15))

rules = [dict(match='prototypes', frozen_epochs=1)]
optim_wrapper = dict(
    optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.05), paramwise_cfg=dict(rules=rules))
param_scheduler = [dict(type='ScheduleParam', param_name='lr', final=0.0, warmup=10)]
