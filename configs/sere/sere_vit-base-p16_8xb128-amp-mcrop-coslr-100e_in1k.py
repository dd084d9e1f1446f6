"""SERE on iBOT, ViT-B/16, 100 epochs, batch 1024: larger crops, frozen scales, a slower start."""

_base_ = './sere_vit-small-p16_8xb128-amp-mcrop-coslr-100e_in1k.py'

crop = dict(type='RandomView', jitter=(0.4, 0.4, 0.2, 0.1), interpolation='bicubic')
big, small = dict(crop, size=224, scale=(0.32, 1.0)), dict(crop, size=96, scale=(0.05, 0.32))
views = [dict(big, blur=1.0), dict(big, blur=0.1, solarize=0.2), dict(small, blur=0.5, repeat=10)]
mask = dict(type='PatchMask', ratio=(0.0, 0.3), var=(0.0, 0.2))
multi = dict(type='MultiView', views=views, mask=mask)
train_dataloader = dict(dataset=dict(pipeline=[dict(type='LoadImage'), multi]))

model = dict(
    backbone=dict(arch='base'),
    neck=dict(dims=(768, 2048, 2048, 256), train_scale=False),
    teacher_temp=dict(warmup=50))

rules = [
    dict(ndim=1, decay_mult=0.0), dict(match=r'\.bias$', decay_mult=1.0),
    dict(match='last_layer', frozen_epochs=3)]
optim_wrapper = dict(optimizer=dict(lr=3e-3), paramwise_cfg=dict(rules=rules))
param_scheduler = [
    dict(type='ScheduleParam', param_name='lr', final=2e-6, warmup=10, warmup_reaches=True),
    dict(type='ScheduleParam', param_name='weight_decay', final=0.4)]
