"""MoBY, Swin-T, 300 epochs, batch 512 (Xie et al. 2021)."""

_base_ = '../_base_/pretrain.py'

crop = dict(type='RandomView', size=224, scale=(0.08, 1.0), jitter=(0.4, 0.4, 0.2, 0.1))
views = [dict(crop, blur=1.0), dict(crop, blur=0.1, solarize=0.2)]
train_dataloader = dict(
    batch_size=64,
    dataset=dict(pipeline=[dict(type='LoadImage'), dict(type='MultiView', views=views)]))

model = dict(
    type='MoBY',
    queue_length=4096,
    backbone=dict(type='SwinTransformer', arch='tiny', drop_path_rate=0.2),    # teacher: none
    neck=dict(type='MLP', dims=(768, 4096, 256), bias=True),
    head=dict(
        type='ContrastiveHead', temperature=0.2,
        predictor=dict(type='MLP', dims=(256, 4096, 256), bias=True)),
    momentum=dict(start=0.99, final=1.0))

rules = [dict(ndim=1, decay_mult=0.0)]     # position-bias tables and the class token do decay
optim_wrapper = dict(
    amp='float16', optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.05),
    paramwise_cfg=dict(rules=rules), clip_grad=dict(max_norm=5.0))
auto_scale_lr = dict(base_batch_size=512)
param_scheduler = [dict(
    type='ScheduleParam', param_name='lr', final=5e-6, warmup=5, warmup_start=5e-7,
    after_warmup=False, lag=1, scale=('final', 'warmup_start'))]
train_cfg = dict(max_epochs=300)
sync_bn = 'torch'
