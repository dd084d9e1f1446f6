"""Distillation of DINOv2's ViT-B/14 into ViT-S/14, 100 epochs, batch 1024; the numbers are our own.

One view for both networks; class token and patches, by cosine.
"""

_base_ = '../_base_/pretrain.py'

view = dict(
    type='RandomView', size=224, scale=(0.14, 1.0), jitter=(0.4, 0.4, 0.2, 0.1), blur=0.5,
    interpolation='bicubic')
train_dataloader = dict(
    batch_size=128,
    dataset=dict(pipeline=[dict(type='LoadImage'), dict(type='MultiView', views=[view])]))

model = dict(
    type='Distillation',
    backbone=dict(
        type='VisionTransformer', arch='small', patch_size=14, layer_scale=1e-5,
        drop_path_rate=0.1),
    teacher='timm:vit_base_patch14_dinov2.lvd142m',
    loss='cosine',
    weights=(1.0, 1.0))

rules = [dict(ndim=1, decay_mult=0.0)]
optim_wrapper = dict(
    amp='bfloat16',
    optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.05),
    paramwise_cfg=dict(rules=rules),
    clip_grad=dict(max_norm=3.0))
auto_scale_lr = dict(base_batch_size=1024)
param_scheduler = [dict(type='ScheduleParam', param_name='lr', final=1e-6, warmup=5)]
train_cfg = dict(max_epochs=100)
