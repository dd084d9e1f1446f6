"""EsViT, view and region task, beside the other methods: four local views more."""

_base_ = './esvit_vit-conv-v_1xb512-200e_cifar10.py'

model = dict(type='EsViT')
