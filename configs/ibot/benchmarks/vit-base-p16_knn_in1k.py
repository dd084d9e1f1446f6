"""kNN of a ViT-B/16 pretrained with iBOT: the last class token."""

_base_ = './vit-small-p16_knn_in1k.py'

model = dict(backbone=dict(arch='base'))
