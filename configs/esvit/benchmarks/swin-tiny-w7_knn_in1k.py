"""kNN of a Swin-T with window 7 pretrained with EsViT: the mean of the last tokens."""

_base_ = '../../_base_/knn_imagenet.py'

model = dict(backbone=dict(type='SwinTransformer', arch='tiny', norm_eps=1e-6))
