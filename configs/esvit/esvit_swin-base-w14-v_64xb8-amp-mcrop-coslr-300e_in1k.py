"""EsViT, Swin-B (window 14), view task only: the first 200 epochs of both tasks, batch 512."""

_base_ = './esvit_swin-tiny-w7_16xb32-amp-mcrop-coslr-300e_in1k.py'

train_dataloader = dict(batch_size=8)
model = dict(
    backbone=dict(arch='base', window_size=14, drop_path_rate=0.2),
    neck=dict(dims=(1024, 2048, 2048, 256)),
    type='DINO')
default_hooks = dict(checkpoint=dict(max_keep_ckpts=13))     # epochs 180 to 300
