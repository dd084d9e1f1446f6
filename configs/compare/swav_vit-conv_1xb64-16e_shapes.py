"""SwAV beside the other methods: same network and images seen, four local views more.

A laptop's recipe. Given up against ResNet-50: the network (a ViT of 2 blocks of 64 channels on 32
px), 32 prototypes for 3,000, four small crops for six, LARC, batch 64 for 256 with a memory.
"""

_base_ = './_base_/shapes.py'

model = dict(
    type='SwAV',
    neck=dict(type='MLP', dims=(64, 512, 128), bias=True),
    head=dict(
        type='SwAVHead', dim=128, prototypes=32, temperature=0.1, epsilon=0.02))

rules = [dict(match='prototypes', frozen_epochs=1)]
optim_wrapper = dict(
    optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.05), paramwise_cfg=dict(rules=rules))
param_scheduler = [dict(type='ScheduleParam', param_name='lr', final=0.0, warmup=1)]
