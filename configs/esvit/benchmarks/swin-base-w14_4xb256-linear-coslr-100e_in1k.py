"""Linear probe of EsViT's Swin-B (window 14): the last four blocks, 100 epochs, batch 1024."""

_base_ = './swin-tiny-w7_4xb256-linear-coslr-100e_in1k.py'

model = dict(backbone=dict(arch='base', window_size=14))     # 1e-3 for each 256, by its log
