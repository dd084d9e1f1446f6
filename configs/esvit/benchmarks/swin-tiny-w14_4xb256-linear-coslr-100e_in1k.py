"""Linear probe of EsViT's Swin-T (window 14): the settings of window 7."""

_base_ = './swin-tiny-w7_4xb256-linear-coslr-100e_in1k.py'

model = dict(backbone=dict(window_size=14))
