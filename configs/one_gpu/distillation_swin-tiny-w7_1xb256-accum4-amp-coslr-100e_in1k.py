"""Distillation of DINOv3's ViT-B/16 into Swin-T, on one GPU of 24 GB: batch 1024 out of four.

Given up against 8 x 128 images: nothing.
"""

_base_ = '../distillation/distillation_swin-tiny-w7_8xb128-amp-coslr-100e_in1k.py'

train_dataloader = dict(batch_size=256)
optim_wrapper = dict(accumulative_counts=4)
