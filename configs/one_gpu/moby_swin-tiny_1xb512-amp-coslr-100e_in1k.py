"""MoBY, Swin-T, on one GPU of 24 GB: batch 512, 100 epochs, activations computed twice.

Given up against 8 x 64 images and 300 epochs: length. Batch norms see all 512 images, as there.
"""

_base_ = '../moby/moby_swin-tiny_8xb64-amp-coslr-300e_in1k.py'

train_dataloader = dict(batch_size=512)
# drop path of the 100-epoch runs: see moby_swin-tiny_8xb64-amp-coslr-100e_in1k.py
model = dict(backbone=dict(drop_path_rate=0.1, with_cp=True))
train_cfg = dict(max_epochs=100)
