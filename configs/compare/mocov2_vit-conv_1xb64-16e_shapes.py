"""MoCo v2 beside the other methods: same network and images seen, the two global views.

A laptop's recipe. Given up against ResNet-50: the network (a ViT of 2 blocks of 64 channels on 32
px), batch 64 for 256, 2,048 keys for 65,536, SGD, 16 epochs for 200.
"""

_base_ = './_base_/shapes.py'

multi = dict(type='MultiView', views={{_base_.pair}})
train_dataloader = dict(dataset=dict(pipeline=[dict(type='LoadImage'), multi]))

model = dict(
    type='MoCo',
    queue_length=2048,
    neck=dict(type='MLP', dims=(64, 512, 128), bias=True, hidden_norm=False),
    head=dict(type='ContrastiveHead', temperature=0.2),
    momentum=dict(start=0.99, shape='constant'))

optim_wrapper = dict(optimizer=dict(type='AdamW', lr=2e-3, weight_decay=0.05))
param_scheduler = [dict(type='ScheduleParam', param_name='lr', final=0.0, warmup=1)]
