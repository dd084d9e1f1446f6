"""kNN of a Swin-B with window 14 pretrained with EsViT."""

_base_ = './swin-tiny-w7_knn_in1k.py'

model = dict(backbone=dict(arch='base', window_size=14))
