"""DINO, ViT-S/16, 100 epochs, batch 512: the official code's defaults (Caron et al., ICCV 2021)."""

_base_ = '../_base_/pretrain.py'

crop = dict(type='RandomView', jitter=(0.4, 0.4, 0.2, 0.1), interpolation='bicubic')
big, small = dict(crop, size=224, scale=(0.4, 1.0)), dict(crop, size=96, scale=(0.05, 0.4))
views = [dict(big, blur=1.0), dict(big, blur=0.1, solarize=0.2), dict(small, blur=0.5, repeat=8)]
train_dataloader = dict(
    batch_size=64,
    dataset=dict(pipeline=[dict(type='LoadImage'), dict(type='MultiView', views=views)]))

model = dict(
    type='DINO',
    backbone=dict(type='VisionTransformer', arch='small', drop_path_rate=0.1),
    neck=dict(
        type='DINONeck', dims=(384, 2048, 2048, 256), prototypes=65536, train_scale=False),
    head=dict(type='DistillationHead', prototypes=65536, student_temp=0.1),
    teacher_temp=dict(
        start=0.04, shape='constant', warmup_start=0.04, warmup_reaches=True, hold_epochs=True),
    momentum=dict(start=0.996, final=1.0))

rules = [dict(ndim=1, decay_mult=0.0), dict(match='last_layer', frozen_epochs=1)]
optim_wrapper = dict(
    amp='float16',
    optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.04),     # 5e-4 for each 256 images
    paramwise_cfg=dict(rules=rules),
    clip_grad=dict(max_norm=3.0, each=True))
auto_scale_lr = dict(base_batch_size=512)
param_scheduler = [
    dict(type='ScheduleParam', param_name='lr', final=1e-6, warmup=10, warmup_reaches=True),
    dict(type='ScheduleParam', param_name='weight_decay', final=0.4)]
train_cfg = dict(max_epochs=100)
