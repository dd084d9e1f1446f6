"""MoCo v2, ResNet-50, on one GPU of 24 GB: batch 256 whole, 200 epochs, mixed precision.

Given up against 8 x 32 images: shuffled batch norm. One process has no others to exchange keys
with, so queries and keys share batch statistics, which the paper found to give answers away.
"""

_base_ = '../mocov2/mocov2_resnet50_8xb32-coslr-200e_in1k.py'

train_dataloader = dict(batch_size=256)
optim_wrapper = dict(amp='float16')
