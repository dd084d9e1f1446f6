"""EsViT, view task (DINO), beside the other methods: four local views more."""

_base_ = './_base_/shapes.py'

model = dict(
    type='DINO',
    backbone=dict(interpolate_offset=0.0),
    neck=dict(
        type='DINONeck', dims=(64, 512, 128), prototypes=64, hidden_norm=True, train_scale=False),
    head=dict(type='DistillationHead', prototypes=64, student_temp=0.1),
    teacher_temp=dict(start=0.03, shape='constant'),
    momentum=dict(start=0.99, final=1.0))

rules = [dict(ndim=1, decay_mult=0.0), dict(match='last_layer', frozen_epochs=1)]
optim_wrapper = dict(
    optimizer=dict(type='AdamW', lr=2e-3, weight_decay=0.05),
    paramwise_cfg=dict(rules=rules), clip_grad=dict(max_norm=3.0, each=True))
param_scheduler = [dict(type='ScheduleParam', param_name='lr', final=0.0, warmup=1)]
