"""Linear probe of a ViT-S/16 pretrained with MoCo v3, 90 epochs, batch 1024."""

_base_ = '../../_base_/linear.py'

model = dict(
    backbone=dict(
        type='VisionTransformer', arch='small', num_heads=12, positions='sincos', init='moco'))
optim_wrapper = dict(optimizer=dict(lr=12.0))
