"""EsViT, view task (DINO), beside the other methods: four local views more."""

_base_ = './_base_/imagenette.py'

model = dict(
    type='DINO',
    backbone=dict(interpolate_offset=0.0),
    neck=dict(type='DINONeck', dims=(384, 2048, 2048, 256), prototypes=4096, train_scale=False),
    head=dict(type='DistillationHead', prototypes=4096, student_temp=0.1),
    teacher_temp=dict(
        start=0.07, shape='constant', warmup=30, warmup_start=0.04, warmup_reaches=True,
        hold_epochs=True),
    momentum=dict(start=0.996, final=1.0))

rules = [dict(ndim=1, decay_mult=0.0), dict(match='last_layer', frozen_epochs=1)]
optim_wrapper = dict(
    optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.04),
    paramwise_cfg=dict(rules=rules), clip_grad=dict(max_norm=3.0, each=True))
param_scheduler = [
    dict(type='ScheduleParam', param_name='lr', final=1e-6, warmup=10),
    dict(type='ScheduleParam', param_name='weight_decay', final=0.4)]
