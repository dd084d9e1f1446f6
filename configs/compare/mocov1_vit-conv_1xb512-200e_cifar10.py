"""MoCo v1 beside the other methods: MoCo v2's recipe with v1's head and temperature."""

_base_ = './mocov2_vit-conv_1xb512-200e_cifar10.py'

model = dict(neck=dict(dims=(192, 256)), head=dict(temperature=0.07))
