"""Distillation of DINOv3's ViT-B/16 into ResNet-50, on one GPU of 24 GB: batch 1024 out of four.

Given up against 8 x 128 images: nothing but batch norm over all of them.
"""

_base_ = '../distillation/distillation_resnet50_8xb128-amp-coslr-100e_in1k.py'

train_dataloader = dict(batch_size=256)
optim_wrapper = dict(accumulative_counts=4)
