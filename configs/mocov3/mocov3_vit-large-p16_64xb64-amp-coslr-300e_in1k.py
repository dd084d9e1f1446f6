"""MoCo v3, ViT-L/16, 300 epochs, batch 4096: OpenMMLab's recipe, ViT-S's with clipped gradients."""

_base_ = './mocov3_vit-small-p16_16xb256-amp-coslr-300e_in1k.py'

train_dataloader = dict(batch_size=64)
model = dict(
    backbone=dict(arch='large', num_heads=16),
    neck=dict(dims=(1024, 4096, 4096, 256)))
optim_wrapper = dict(clip_grad=dict(max_norm=5.0))
