"""MoBY, DeiT-S/16, 300 epochs, batch 512: the settings of Swin-T."""

_base_ = './moby_swin-tiny_8xb64-amp-coslr-300e_in1k.py'

model = dict(
    backbone=dict(
        _delete_=True, type='VisionTransformer', arch='small', num_heads=6,
        positions='learned', drop_path_rate=0.2),
    neck=dict(dims=(384, 4096, 256)))
