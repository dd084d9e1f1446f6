"""Linear probe of MoBY's DeiT-S/16, 100 epochs, batch 512: the settings of Swin-T."""

_base_ = './swin-tiny_8xb64-amp-linear-coslr-100e_in1k.py'

model = dict(
    backbone=dict(
        _delete_=True, type='VisionTransformer', arch='small', num_heads=6,
        positions='learned', drop_path_rate=0.2))
