"""Linear probe of a ResNet-50 pretrained with MoCo v3, 90 epochs, batch 1024."""

_base_ = '../../_base_/linear.py'

model = dict(backbone=dict(type='ResNet', depth=50))
optim_wrapper = dict(optimizer=dict(lr=0.4))
