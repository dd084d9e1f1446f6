"""EsViT, view and region task, beside the other methods: four local views more."""

_base_ = './esvit_vit-conv-v_1xb256-200e_imagenette.py'

model = dict(type='EsViT')
