"""Linear probe of EsViT's Swin-S (window 7): the last four blocks, 100 epochs, batch 1024."""

_base_ = './swin-tiny-w7_4xb256-linear-coslr-100e_in1k.py'

model = dict(backbone=dict(arch='small'))
optim_wrapper = dict(optimizer=dict(lr=1.2e-2))     # 3e-3 for each 256, as its log is named
