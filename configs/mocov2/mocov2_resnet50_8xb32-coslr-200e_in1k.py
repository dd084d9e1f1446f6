"""MoCo v2, ResNet-50, 200 epochs, batch 256 (Chen et al. 2020)."""

_base_ = '../_base_/pretrain.py'

views = [dict(
    type='RandomView', size=224, scale=(0.2, 1.0), jitter=(0.4, 0.4, 0.4, 0.1), gray=0.2,
    blur=0.5, repeat=2)]
train_dataloader = dict(
    batch_size=32,
    dataset=dict(pipeline=[dict(type='LoadImage'), dict(type='MultiView', views=views)]))

model = dict(
    type='MoCo',
    queue_length=65536,
    backbone=dict(type='ResNet', depth=50),
    neck=dict(type='MLP', dims=(2048, 2048, 128), bias=True, hidden_norm=False),
    head=dict(type='ContrastiveHead', temperature=0.2),
    momentum=dict(start=0.999, shape='constant'))

# no rules, everything decays; no sync_bn, keys are shuffled between the processes instead
optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.03, momentum=0.9, weight_decay=1e-4))
auto_scale_lr = dict(base_batch_size=256)
param_scheduler = [dict(type='ScheduleParam', param_name='lr', final=0.0, hold_epochs=True)]
train_cfg = dict(max_epochs=200)
