"""MoCo v1 beside the other methods: MoCo v2's recipe with v1's head and temperature."""

_base_ = './mocov2_vit-conv_1xb256-200e_imagenette.py'

model = dict(neck=dict(dims=(384, 256)), head=dict(temperature=0.07))
