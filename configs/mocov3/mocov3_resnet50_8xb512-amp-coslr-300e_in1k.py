"""MoCo v3, ResNet-50, 300 epochs, batch 4096: half the learning rate of 100 epochs."""

_base_ = './mocov3_resnet50_8xb512-amp-coslr-100e_in1k.py'

optim_wrapper = dict(optimizer=dict(lr=4.8))
train_cfg = dict(max_epochs=300)
