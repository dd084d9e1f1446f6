"""kNN of MoBY's DeiT-S/16; its authors publish no figure."""

_base_ = '../../_base_/knn_imagenet.py'

model = dict(backbone=dict(type='VisionTransformer', arch='small', num_heads=6))
