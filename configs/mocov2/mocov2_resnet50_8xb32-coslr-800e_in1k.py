"""MoCo v2, ResNet-50, 800 epochs, batch 256: the longest official recipe."""

_base_ = './mocov2_resnet50_8xb32-coslr-200e_in1k.py'

train_cfg = dict(max_epochs=800)
