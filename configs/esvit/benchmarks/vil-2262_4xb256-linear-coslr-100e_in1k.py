"""Linear probe of EsViT's ViL 2262: the last four blocks, by global token where there is one."""

_base_ = './swin-tiny-w7_4xb256-linear-coslr-100e_in1k.py'

model = dict(backbone=dict(_delete_=True, type='ViL'))
