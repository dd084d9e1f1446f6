"""SwAV, ResNet-50, 2x224 + 6x96 crops, 400 epochs, batch 256 with a queue."""

_base_ = './swav_resnet50_4xb64-amp-mcrop-coslr-200e_in1k-224px-96px.py'

train_cfg = dict(max_epochs=400)
