"""MoCo v3, ViT-B/16 with a convolutional stem and one block less, 300 epochs, batch 4096.

The official code offers the network and publishes neither figure nor file; the settings are those
of ViT-B. The stem is trained: freezing has no effect on it in the official code either.
"""

_base_ = './mocov3_vit-small-p16_16xb256-amp-coslr-300e_in1k.py'

model = dict(
    backbone=dict(arch='base', stem='conv', freeze_patch_embed=False),
    neck=dict(dims=(768, 4096, 4096, 256)))
