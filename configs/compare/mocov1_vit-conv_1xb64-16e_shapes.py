"""MoCo v1 beside the other methods: MoCo v2's recipe with one layer for a head and its temperature.

A laptop's recipe. Given up against ResNet-50, beside what MoCo v2 gives up here: v1's own weaker
augmentation and its rate in steps.
"""

_base_ = './mocov2_vit-conv_1xb64-16e_shapes.py'

model = dict(neck=dict(dims=(64, 128)), head=dict(temperature=0.07))
