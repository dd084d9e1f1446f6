"""Segmentation with a ViT-S/16 pretrained with SERE on ImageNet-S, 300 classes, batch 256."""

_base_ = './vit-small-p16_8xb32-amp-coslr-100e_imagenet-s919.py'

protocol = 'ImageNet-S300 segmentation'
data_root = 'data/ImageNetS300/'
model = dict(head=dict(num_classes=301))
