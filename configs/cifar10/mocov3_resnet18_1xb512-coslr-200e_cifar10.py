"""MoCo v3, ResNet-18 with a small stem, CIFAR-10, 200 epochs, batch 512 on one GPU.

Our own recipe: the official ResNet-50 recipe with the rate scaled to the batch and the lower
temperature that small data sets are usually trained with.
"""

_base_ = '../_base_/pretrain_cifar10.py'

crop = dict(type='RandomView', size=32, scale=(0.2, 1.0), jitter=(0.4, 0.4, 0.2, 0.1))
views = [crop, dict(crop, solarize=0.2)]
train_dataloader = dict(
    batch_size=512,
    dataset=dict(pipeline=[dict(type='LoadImage'), dict(type='MultiView', views=views)]))

model = dict(
    type='MoCoV3',
    backbone=dict(type='ResNet', depth=18, small_stem=True, zero_init_residual=True),
    neck=dict(type='MLP', dims=(512, 4096, 256), last_norm=True),
    head=dict(
        type='ContrastiveHead', temperature=0.2, scaled=True,
        predictor=dict(type='MLP', dims=(256, 4096, 256))),
    momentum=dict(start=0.99, final=1.0))

rules = [dict(ndim=1, decay_mult=0.0, adapt=False)]
optim_wrapper = dict(
    optimizer=dict(type='LARS', lr=1.2, weight_decay=1e-6, momentum=0.9),
    paramwise_cfg=dict(rules=rules))
param_scheduler = [dict(type='ScheduleParam', param_name='lr', final=0.0, warmup=10)]
train_cfg = dict(max_epochs=200, val_interval=5, val_at_start=True)
default_hooks = dict(checkpoint=dict(save_best='knn/top1'))
