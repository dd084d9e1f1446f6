"""MoCo v3, ResNet-50, 100 epochs, batch 4096 (Chen, Xie & He, ICCV 2021)."""

_base_ = '../_base_/pretrain.py'

crop = dict(type='RandomView', size=224, scale=(0.2, 1.0), jitter=(0.4, 0.4, 0.2, 0.1))
views = [dict(crop, blur=1.0), dict(crop, blur=0.1, solarize=0.2)]
train_dataloader = dict(
    batch_size=512,
    dataset=dict(pipeline=[dict(type='LoadImage'), dict(type='MultiView', views=views)]))

model = dict(
    type='MoCoV3',
    backbone=dict(type='ResNet', depth=50, zero_init_residual=True),
    neck=dict(type='MLP', dims=(2048, 4096, 256), last_norm=True),
    head=dict(
        type='ContrastiveHead', temperature=1.0, scaled=True,
        predictor=dict(type='MLP', dims=(256, 4096, 256))),
    momentum=dict(start=0.99, final=1.0))

rules = [dict(ndim=1, decay_mult=0.0, adapt=False)]     # norms and biases: plain momentum SGD
optim_wrapper = dict(
    amp='float16',
    optimizer=dict(type='LARS', lr=9.6, weight_decay=1e-6, momentum=0.9),
    paramwise_cfg=dict(rules=rules))
auto_scale_lr = dict(base_batch_size=4096)
param_scheduler = [dict(type='ScheduleParam', param_name='lr', final=0.0, warmup=10)]
train_cfg = dict(max_epochs=100)
sync_bn = 'torch'
