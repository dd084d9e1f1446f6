"""Segmentation with a ViT-S/16 pretrained with SERE on ImageNet-S, 50 classes, batch 256."""

_base_ = './vit-small-p16_8xb32-amp-coslr-100e_imagenet-s919.py'

protocol = 'ImageNet-S50 segmentation'
data_root = 'data/ImageNetS50/'
model = dict(head=dict(num_classes=51))
