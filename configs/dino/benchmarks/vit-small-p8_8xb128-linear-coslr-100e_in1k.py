"""Linear probe of DINO's ViT-S/8: class tokens of the last four blocks, at the default rate."""

_base_ = './vit-small-p16_8xb128-linear-coslr-100e_in1k.py'

model = dict(backbone=dict(patch_size=8))
