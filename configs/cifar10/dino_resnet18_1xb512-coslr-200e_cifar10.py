"""DINO, ResNet-18 with a small stem, CIFAR-10, 200 epochs, batch 512 on one GPU.

Two views of full size, no small crops; the numbers are our own.
"""

_base_ = '../_base_/pretrain_cifar10.py'

view = dict(
    type='RandomView', size=32, scale=(0.14, 1.0), jitter=(0.4, 0.4, 0.2, 0.1), repeat=2)
train_dataloader = dict(
    batch_size=512,
    dataset=dict(pipeline=[dict(type='LoadImage'), dict(type='MultiView', views=[view])]))

model = dict(
    type='DINO',
    backbone=dict(type='ResNet', depth=18, small_stem=True),
    neck=dict(type='DINONeck', dims=(512, 512, 512, 64), prototypes=2048, train_scale=False),
    head=dict(type='DistillationHead', prototypes=2048, student_temp=0.1),
    teacher_temp=dict(start=0.04, shape='constant'),
    momentum=dict(start=0.996, final=1.0))

rules = [dict(ndim=1, decay_mult=0.0), dict(match='last_layer', frozen_epochs=1)]
optim_wrapper = dict(
    optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.04), paramwise_cfg=dict(rules=rules))
param_scheduler = [
    dict(type='ScheduleParam', param_name='lr', final=0.0),
    dict(type='ScheduleParam', param_name='weight_decay', final=0.4)]
train_cfg = dict(max_epochs=200, val_interval=5, val_at_start=True)
default_hooks = dict(checkpoint=dict(save_best='knn/top1'))
