"""Linear probe of EsViT's CvT: the last four blocks, 100 epochs, batch 1024."""

_base_ = './swin-tiny-w7_4xb256-linear-coslr-100e_in1k.py'

model = dict(backbone=dict(_delete_=True, type='CvT'))
