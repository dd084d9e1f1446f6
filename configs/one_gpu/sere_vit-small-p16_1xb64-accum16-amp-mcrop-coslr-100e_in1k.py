"""SERE on iBOT, ViT-S/16, on one GPU of 24 GB: batch 1024 out of sixteen, 100 epochs.

Given up against 8 x 128 images: the batch norms of the relation necks see 64 images instead of
1024. The rest is the same, centres and the loss in blocks among it.
"""

_base_ = '../sere/sere_vit-small-p16_8xb128-amp-mcrop-coslr-100e_in1k.py'

train_dataloader = dict(batch_size=64)
model = dict(neck=dict(chunk_size=1024))
optim_wrapper = dict(accumulative_counts=16)
