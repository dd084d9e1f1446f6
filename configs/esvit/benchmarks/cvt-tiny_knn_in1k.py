"""kNN of a CvT (s1) pretrained with EsViT."""

_base_ = '../../_base_/knn_imagenet.py'

model = dict(backbone=dict(type='CvT'))
