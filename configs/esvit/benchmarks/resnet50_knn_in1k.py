"""kNN of a ResNet-50 pretrained with EsViT: the mean of the last map."""

_base_ = '../../_base_/knn_imagenet.py'

model = dict(backbone=dict(type='ResNet', depth=50))
