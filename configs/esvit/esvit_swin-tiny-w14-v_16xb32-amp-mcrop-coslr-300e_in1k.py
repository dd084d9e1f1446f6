"""EsViT, Swin-T (window 14), view task only: the first 200 epochs of both tasks, batch 512."""

_base_ = './esvit_swin-tiny-w7_16xb32-amp-mcrop-coslr-300e_in1k.py'

model = dict(backbone=dict(window_size=14), type='DINO')
default_hooks = dict(checkpoint=dict(max_keep_ckpts=13))     # epochs 180 to 300
