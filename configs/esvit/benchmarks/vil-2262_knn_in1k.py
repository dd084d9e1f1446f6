"""kNN of a ViL (2262) pretrained with EsViT."""

_base_ = '../../_base_/knn_imagenet.py'

model = dict(backbone=dict(type='ViL'))
