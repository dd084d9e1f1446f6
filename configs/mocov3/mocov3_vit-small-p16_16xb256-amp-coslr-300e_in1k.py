"""MoCo v3, ViT-S/16, 300 epochs, batch 4096 (Chen, Xie & He, ICCV 2021)."""

_base_ = '../_base_/pretrain.py'

crop = dict(type='RandomView', size=224, scale=(0.08, 1.0), jitter=(0.4, 0.4, 0.2, 0.1))
views = [dict(crop, blur=1.0), dict(crop, blur=0.1, solarize=0.2)]
train_dataloader = dict(
    batch_size=256,
    dataset=dict(pipeline=[dict(type='LoadImage'), dict(type='MultiView', views=views)]))

model = dict(
    type='MoCoV3',
    backbone=dict(
        type='VisionTransformer', arch='small', num_heads=12,     # 12 heads, not DeiT's 6
        positions='sincos', init='moco', freeze_patch_embed=True),
    neck=dict(type='MLP', dims=(384, 4096, 4096, 256), last_norm=True),
    head=dict(
        type='ContrastiveHead', temperature=0.2, scaled=True,
        predictor=dict(type='MLP', dims=(256, 4096, 256), last_norm=True)),
    momentum=dict(start=0.99, final=1.0))

optim_wrapper = dict(     # no rules: biases and norms decay too, as in the official code
    amp='float16', optimizer=dict(type='AdamW', lr=2.4e-3, weight_decay=0.1))
auto_scale_lr = dict(base_batch_size=4096)
param_scheduler = [dict(type='ScheduleParam', param_name='lr', final=0.0, warmup=40)]
train_cfg = dict(max_epochs=300)
sync_bn = 'torch'
