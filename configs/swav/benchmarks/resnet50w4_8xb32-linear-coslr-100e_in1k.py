"""Linear probe of SwAV's ResNet-50 of four times the width, 100 epochs, batch 256."""

_base_ = './resnet50_8xb32-linear-coslr-100e_in1k.py'

model = dict(backbone=dict(width=256))
