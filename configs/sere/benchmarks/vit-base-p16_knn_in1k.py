"""kNN of a ViT-B/16 pretrained with SERE, by iBOT's protocol; SERE publishes no figure."""

_base_ = './vit-small-p16_knn_in1k.py'

model = dict(backbone=dict(arch='base'))
