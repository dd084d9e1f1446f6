"""MoBY beside the other methods: same network and images seen, the two global views.

A laptop's recipe. Given up against Swin-T: the network (a ViT of 2 blocks of 64 channels on 32
px), batch 64 for 512, 2,048 keys for 4,096, 16 epochs for 300.
"""

_base_ = './_base_/shapes.py'

multi = dict(type='MultiView', views={{_base_.pair}})
train_dataloader = dict(dataset=dict(pipeline=[dict(type='LoadImage'), multi]))

model = dict(
    type='MoBY',
    queue_length=2048,
    neck=dict(type='MLP', dims=(64, 512, 128), bias=True),
    head=dict(
        type='ContrastiveHead', temperature=0.2,
        predictor=dict(type='MLP', dims=(128, 512, 128), bias=True)),
    momentum=dict(start=0.99, final=1.0))

optim_wrapper = dict(
    optimizer=dict(type='AdamW', lr=2e-3, weight_decay=0.05), clip_grad=dict(max_norm=5.0))
param_scheduler = [dict(type='ScheduleParam', param_name='lr', final=0.0, warmup=1)]
