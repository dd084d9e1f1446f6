"""SwAV, ResNet-18 with a small stem, CIFAR-10, 200 epochs, batch 512 on one GPU.

Two views of full size, no small crops; the numbers are our own.
"""

_base_ = '../_base_/pretrain_cifar10.py'

view = dict(
    type='RandomView', size=32, scale=(0.14, 1.0), jitter=(0.8, 0.8, 0.8, 0.2), repeat=2)
train_dataloader = dict(
    batch_size=512,
    dataset=dict(pipeline=[dict(type='LoadImage'), dict(type='MultiView', views=[view])]))

model = dict(
    type='SwAV',
    backbone=dict(type='ResNet', depth=18, small_stem=True),
    neck=dict(type='MLP', dims=(512, 512, 128), bias=True),
    head=dict(type='SwAVHead', dim=128, prototypes=512, temperature=0.1, epsilon=0.05))

rules = [dict(match='prototypes', frozen_epochs=1)]
optim_wrapper = dict(
    optimizer=dict(type='Adam', lr=4e-3, weight_decay=1e-6), paramwise_cfg=dict(rules=rules))
param_scheduler = [dict(type='ScheduleParam', param_name='lr', final=0.0)]
train_cfg = dict(max_epochs=200, val_interval=5, val_at_start=True)
default_hooks = dict(checkpoint=dict(save_best='knn/top1'))
