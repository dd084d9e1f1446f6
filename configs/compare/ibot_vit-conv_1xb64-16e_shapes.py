"""iBOT beside the other methods: masked patches, four local views more.

A laptop's recipe. Given up against ViT-S/16: the network (2 blocks of 64 channels on 32 px), 64
prototypes for 8,192, four small crops for ten, batch 64 for 1024, 16 epochs for 800.
"""

_base_ = './_base_/shapes.py'

mask = dict(type='PatchMask', patch_size=8, ratio=(0.0, 0.3), var=(0.0, 0.2))
multi = dict(type='MultiView', views={{_base_.crops}}, mask=mask)
train_dataloader = dict(dataset=dict(pipeline=[dict(type='LoadImage'), multi]))

model = dict(
    type='iBOT',
    neck=dict(
        type='DINONeck', dims=(64, 512, 128), prototypes=64, patch_prototypes=64, hidden_norm=True,
        train_scale=False),
    head=dict(type='DistillationHead', prototypes=64, student_temp=0.1),
    weights=(1.0, 0.1),     # at equal weights the patches, soon solved, leave classes unlearnt
    teacher_temp=dict(start=0.03, shape='constant'),
    momentum=dict(start=0.99, final=1.0))

rules = [dict(ndim=1, decay_mult=0.0), dict(match='last_layer', frozen_epochs=1)]
optim_wrapper = dict(
    optimizer=dict(type='AdamW', lr=2e-3, weight_decay=0.05),
    paramwise_cfg=dict(rules=rules), clip_grad=dict(max_norm=3.0, each=True))
param_scheduler = [dict(type='ScheduleParam', param_name='lr', final=0.0, warmup=1)]
