"""Linear probe of EsViT's Swin-S (window 14), at the script's default rate: its log names none."""

_base_ = './swin-tiny-w7_4xb256-linear-coslr-100e_in1k.py'

model = dict(backbone=dict(arch='small', window_size=14))
