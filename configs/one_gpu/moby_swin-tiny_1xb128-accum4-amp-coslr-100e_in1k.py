"""MoBY, Swin-T, on one GPU of 24 GB: batch 512 out of four, 100 epochs.

Given up against 8 x 64 images and 300 epochs: length, and the batch norms of the projections,
which see 128 images instead of 512. Negatives come from the queue, and it is the same.
"""

_base_ = '../moby/moby_swin-tiny_8xb64-amp-coslr-100e_in1k.py'

train_dataloader = dict(batch_size=128)
optim_wrapper = dict(accumulative_counts=4)
