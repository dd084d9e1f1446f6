"""MoCo v3, ViT-S/16, on one GPU of 24 GB: batch 1536, 100 epochs, activations computed twice.

Given up against 16 x 256 images and 300 epochs: length, and five of eight negatives, which come
from the batch and cannot be gathered.
"""

_base_ = '../mocov3/mocov3_vit-small-p16_16xb256-amp-coslr-300e_in1k.py'

train_dataloader = dict(batch_size=1536)
model = dict(backbone=dict(with_cp=True))
optim_wrapper = dict(optimizer=dict(lr=9e-4))     # 1.5e-4 for each 256 images
auto_scale_lr = dict(base_batch_size=1536)
train_cfg = dict(max_epochs=100)
