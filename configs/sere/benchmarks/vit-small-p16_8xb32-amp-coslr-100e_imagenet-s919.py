"""Segmentation with a ViT-S/16 pretrained with SERE on ImageNet-S, 919 classes, batch 256."""

_base_ = '../../_base_/segment_imagenet_s.py'

model = dict(backbone=dict(arch='small'))
