"""kNN of a ResNet-50 pretrained with SwAV, whose figures OpenMMLab's mmselfsup publishes."""

_base_ = '../../_base_/knn_imagenet.py'

model = dict(backbone=dict(type='ResNet', depth=50))
