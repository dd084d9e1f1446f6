"""MoCo v2, ResNet-18 with a small stem, CIFAR-10, 200 epochs, batch 512 on one GPU.

The numbers are our own; pictures of 32 px are not blurred.
"""

_base_ = '../_base_/pretrain_cifar10.py'

view = dict(
    type='RandomView', size=32, scale=(0.08, 1.0), jitter=(0.4, 0.4, 0.4, 0.1), repeat=2)
train_dataloader = dict(
    batch_size=512,
    dataset=dict(pipeline=[dict(type='LoadImage'), dict(type='MultiView', views=[view])]))

model = dict(
    type='MoCo',
    queue_length=4096,
    backbone=dict(type='ResNet', depth=18, small_stem=True),
    neck=dict(type='MLP', dims=(512, 512, 128), bias=True, hidden_norm=False),
    head=dict(type='ContrastiveHead', temperature=0.1),
    momentum=dict(start=0.99, shape='constant'))

optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.24, momentum=0.9, weight_decay=5e-4))
param_scheduler = [dict(type='ScheduleParam', param_name='lr', final=0.0)]
train_cfg = dict(max_epochs=200, val_interval=5, val_at_start=True)
default_hooks = dict(checkpoint=dict(save_best='knn/top1'))
