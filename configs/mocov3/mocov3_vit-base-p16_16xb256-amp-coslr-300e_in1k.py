"""MoCo v3, ViT-B/16, 300 epochs, batch 4096: the settings of ViT-S."""

_base_ = './mocov3_vit-small-p16_16xb256-amp-coslr-300e_in1k.py'

model = dict(backbone=dict(arch='base'), neck=dict(dims=(768, 4096, 4096, 256)))
