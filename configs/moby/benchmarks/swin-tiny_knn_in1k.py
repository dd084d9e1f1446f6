"""kNN of MoBY's Swin-T; its authors publish no figure."""

_base_ = '../../_base_/knn_imagenet.py'

model = dict(backbone=dict(type='SwinTransformer', arch='tiny'))
