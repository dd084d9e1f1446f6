"""SwAV, ResNet-50, 2x224 + 6x96 crops, 400 epochs, batch 4096."""

_base_ = './swav_resnet50_64xb64-amp-mcrop-coslr-100e_in1k-224px-96px.py'

train_cfg = dict(max_epochs=400)
