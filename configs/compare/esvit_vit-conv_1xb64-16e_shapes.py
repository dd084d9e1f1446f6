"""EsViT, view and region task, beside the other methods: four local views more."""

_base_ = './esvit_vit-conv-v_1xb64-16e_shapes.py'

model = dict(region=True)
