"""kNN of a ViT-S/16 pretrained with iBOT: the last class token."""

_base_ = '../../_base_/knn_imagenet.py'

model = dict(backbone=dict(type='VisionTransformer', arch='small'))
