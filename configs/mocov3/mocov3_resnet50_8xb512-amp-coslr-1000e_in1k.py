"""MoCo v3, ResNet-50, 1000 epochs, batch 4096: the longest official recipe."""

_base_ = './mocov3_resnet50_8xb512-amp-coslr-100e_in1k.py'

model = dict(momentum=dict(start=0.996))
optim_wrapper = dict(optimizer=dict(lr=4.8, weight_decay=1.5e-6))
train_cfg = dict(max_epochs=1000)
