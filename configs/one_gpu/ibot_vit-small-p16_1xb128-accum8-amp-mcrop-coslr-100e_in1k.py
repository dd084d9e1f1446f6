"""iBOT, ViT-S/16, on one GPU of 24 GB: batch 1024 out of eight, 100 epochs.

Given up against 16 x 64 images and 800 epochs: length alone. No layer looks across the batch and
centres wait for the last of the eight; the loss in blocks is the same loss.
"""

_base_ = '../ibot/ibot_vit-small-p16_16xb64-amp-mcrop-coslr-800e_in1k.py'

train_dataloader = dict(batch_size=128)
model = dict(neck=dict(chunk_size=1024))
optim_wrapper = dict(accumulative_counts=8)
train_cfg = dict(max_epochs=100)
