"""SwAV, ResNet-50, 2x224 + 6x96 crops, 400 epochs, batch 256: the README's single-machine command.

Its scripts for batch 256 have four GPUs of 64 images and the same numbers otherwise.
"""

_base_ = './swav_resnet50_4xb64-amp-mcrop-coslr-200e_in1k-224px-96px.py'

train_dataloader = dict(batch_size=32)
train_cfg = dict(max_epochs=400)
