"""SwAV, ResNet-50, 2x224 + 6x96 crops, on one GPU of 24 GB: batch 256, 200 epochs.

Given up against 4 x 64 images: nothing. Activations are computed twice; batch norms and codes see
all 256 images, as there.
"""

_base_ = '../swav/swav_resnet50_4xb64-amp-mcrop-coslr-200e_in1k-224px-96px.py'

train_dataloader = dict(batch_size=256)
model = dict(backbone=dict(with_cp=True))
