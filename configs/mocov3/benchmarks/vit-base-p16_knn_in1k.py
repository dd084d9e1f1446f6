"""kNN of a ViT-B/16 pretrained with MoCo v3; its authors publish no figure."""

_base_ = '../../_base_/knn_imagenet.py'

model = dict(backbone=dict(type='VisionTransformer', arch='base', positions='sincos'))
