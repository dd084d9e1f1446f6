"""EsViT, Swin-T (window 7), views and regions, on one GPU of 24 GB: batch 512 out of eight.

Given up against 16 x 32 images and 300 epochs: length alone. No layer looks across the batch and
centres wait for the last of the eight; the loss in blocks is the same loss.
"""

_base_ = '../esvit/esvit_swin-tiny-w7_16xb32-amp-mcrop-coslr-300e_in1k.py'

train_dataloader = dict(batch_size=64)
model = dict(neck=dict(chunk_size=1024))
optim_wrapper = dict(accumulative_counts=8)
train_cfg = dict(max_epochs=100)
