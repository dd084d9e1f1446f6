"""MoBY beside the other methods: same network and images seen, the two global views."""

_base_ = './_base_/imagenette.py'

multi = dict(type='MultiView', views={{_base_.pair}})
train_dataloader = dict(dataset=dict(pipeline=[dict(type='LoadImage'), multi]))

model = dict(
    type='MoBY',
    queue_length=8192,
    neck=dict(type='MLP', dims=(384, 2048, 256), bias=True),
    head=dict(
        type='ContrastiveHead', temperature=0.2,
        predictor=dict(type='MLP', dims=(256, 2048, 256), bias=True)),
    momentum=dict(start=0.99, final=1.0))

optim_wrapper = dict(
    optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.05), clip_grad=dict(max_norm=5.0))
param_scheduler = [dict(type='ScheduleParam', param_name='lr', final=0.0, warmup=10)]
