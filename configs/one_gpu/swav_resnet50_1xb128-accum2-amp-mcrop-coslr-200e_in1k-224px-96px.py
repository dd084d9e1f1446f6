"""SwAV, ResNet-50, 2x224 + 6x96 crops, on one GPU of 24 GB: batch 256 out of two, 200 epochs.

Given up against 4 x 64 images: batch norms and codes see 128 images instead of 256, the codes
beside the same memory of 3,840; the memory takes in both halves after the step.
"""

_base_ = '../swav/swav_resnet50_4xb64-amp-mcrop-coslr-200e_in1k-224px-96px.py'

train_dataloader = dict(batch_size=128)
rules = [dict(match='prototypes', frozen_iters=10009)]     # one epoch
optim_wrapper = dict(accumulative_counts=2, paramwise_cfg=dict(rules=rules))
