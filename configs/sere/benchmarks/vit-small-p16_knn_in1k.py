"""kNN of a ViT-S/16 pretrained with SERE, by iBOT's protocol; SERE publishes no figure."""

_base_ = '../../_base_/knn_imagenet.py'

model = dict(backbone=dict(type='VisionTransformer', arch='small'))
