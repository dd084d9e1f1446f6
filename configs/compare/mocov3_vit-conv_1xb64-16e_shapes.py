"""MoCo v3 beside the other methods: same network and images seen, the two global views.

A laptop's recipe. Given up against ViT-S/16: the network (2 blocks of 64 channels on 32 px),
batch 64 and as many negatives for 4096, 16 epochs for 300.
"""

_base_ = './_base_/shapes.py'

multi = dict(type='MultiView', views={{_base_.pair}})
train_dataloader = dict(dataset=dict(pipeline=[dict(type='LoadImage'), multi]))

model = dict(
    type='MoCoV3',
    neck=dict(type='MLP', dims=(64, 512, 512, 128), last_norm=True),
    head=dict(
        type='ContrastiveHead', temperature=0.2, scaled=True,
        predictor=dict(type='MLP', dims=(128, 512, 128), last_norm=True)),
    momentum=dict(start=0.99, final=1.0))

optim_wrapper = dict(optimizer=dict(type='AdamW', lr=2e-3, weight_decay=0.05))
param_scheduler = [dict(type='ScheduleParam', param_name='lr', final=0.0, warmup=1)]
