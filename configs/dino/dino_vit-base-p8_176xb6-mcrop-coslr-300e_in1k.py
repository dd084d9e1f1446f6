"""DINO, ViT-B/8, 300 epochs, batch 1056, full precision: the released model.

The settings stand in its args.txt, which was not read: all are a third party's transcription of it
[3rd], but what they share with the official defaults.
"""

_base_ = './dino_vit-small-p16_8xb64-amp-mcrop-coslr-100e_in1k.py'

crop = dict(type='RandomView', jitter=(0.4, 0.4, 0.2, 0.1), interpolation='bicubic')
big, small = dict(crop, size=224, scale=(0.25, 1.0)), dict(crop, size=96, scale=(0.05, 0.25))
views = [dict(big, blur=1.0), dict(big, blur=0.1, solarize=0.2), dict(small, blur=0.5, repeat=10)]
train_dataloader = dict(
    batch_size=6,
    dataset=dict(pipeline=[dict(type='LoadImage'), dict(type='MultiView', views=views)]))
model = dict(
    backbone=dict(arch='base', patch_size=8),
    neck=dict(dims=(768, 2048, 2048, 256)),
    teacher_temp=dict(start=0.07, warmup=50, warmup_start=0.03))
rules = [dict(ndim=1, decay_mult=0.0), dict(match='last_layer', frozen_epochs=3)]
optim_wrapper = dict(     # 5e-4 for each 256 images
    amp=None, optimizer=dict(lr=2.0625e-3), paramwise_cfg=dict(rules=rules))
auto_scale_lr = dict(base_batch_size=1056)
param_scheduler = [
    dict(type='ScheduleParam', param_name='lr', final=2e-6, warmup=10, warmup_reaches=True),
    dict(type='ScheduleParam', param_name='weight_decay', final=0.4)]
train_cfg = dict(max_epochs=300)
