"""Distillation of DINOv2's ViT-B/14 into ViT-S/14, on one GPU of 24 GB: batch 1024 out of four.

Given up against 8 x 128 images: nothing.
"""

_base_ = '../distillation/distillation_vit-small-p14_8xb128-amp-coslr-100e_in1k.py'

train_dataloader = dict(batch_size=256)
optim_wrapper = dict(accumulative_counts=4)
