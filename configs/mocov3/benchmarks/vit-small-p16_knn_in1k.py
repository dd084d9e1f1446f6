"""kNN of a ViT-S/16 pretrained with MoCo v3 (12 heads); its authors publish no figure."""

_base_ = '../../_base_/knn_imagenet.py'

model = dict(
    backbone=dict(type='VisionTransformer', arch='small', num_heads=12, positions='sincos'))
