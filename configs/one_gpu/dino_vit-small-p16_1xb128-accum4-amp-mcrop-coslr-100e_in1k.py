"""DINO, ViT-S/16, on one GPU of 24 GB: batch 512 out of four, 100 epochs.

Given up against 8 x 64 images: nothing. No layer looks across the batch and the centre waits for
the last of the four; the loss in blocks is the same loss.
"""

_base_ = '../dino/dino_vit-small-p16_8xb64-amp-mcrop-coslr-100e_in1k.py'

train_dataloader = dict(batch_size=128)
model = dict(neck=dict(chunk_size=1024))
optim_wrapper = dict(accumulative_counts=4)
