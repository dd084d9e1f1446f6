"""DINO, ViT-S/8, 800 epochs, batch 1024, full precision: the released model.

GPUs, images and precision are the author's word (issue 104); the other settings stand in args.txt,
which was not read, and are those of other people's launch scripts [3rd].
"""

_base_ = './dino_vit-small-p16_8xb64-amp-mcrop-coslr-100e_in1k.py'

crop = dict(type='RandomView', jitter=(0.4, 0.4, 0.2, 0.1), interpolation='bicubic')
big, small = dict(crop, size=224, scale=(0.4, 1.0)), dict(crop, size=96, scale=(0.05, 0.4))
views = [dict(big, blur=1.0), dict(big, blur=0.1, solarize=0.2), dict(small, blur=0.5, repeat=10)]
train_dataloader = dict(
    batch_size=16,
    dataset=dict(pipeline=[dict(type='LoadImage'), dict(type='MultiView', views=views)]))
model = dict(
    backbone=dict(patch_size=8),
    neck=dict(train_scale=True),
    teacher_temp=dict(start=0.07, warmup=30))
optim_wrapper = dict(amp=None, optimizer=dict(lr=2e-3))
auto_scale_lr = dict(base_batch_size=1024)
train_cfg = dict(max_epochs=800)
