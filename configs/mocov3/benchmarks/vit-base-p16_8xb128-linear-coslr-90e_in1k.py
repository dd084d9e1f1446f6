"""Linear probe of a ViT-B/16 pretrained with MoCo v3, 90 epochs, batch 1024."""

_base_ = './vit-small-p16_8xb128-linear-coslr-90e_in1k.py'

model = dict(backbone=dict(arch='base'))
