"""kNN of a Swin-T with window 14 pretrained with EsViT."""

_base_ = './swin-tiny-w7_knn_in1k.py'

model = dict(backbone=dict(window_size=14))
