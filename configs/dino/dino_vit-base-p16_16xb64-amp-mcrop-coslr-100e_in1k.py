"""DINO, ViT-B/16, 100 epochs, batch 1024: the README's command, without a published figure."""

_base_ = './dino_vit-small-p16_8xb64-amp-mcrop-coslr-100e_in1k.py'

model = dict(backbone=dict(arch='base'), neck=dict(dims=(768, 2048, 2048, 256)))
optim_wrapper = dict(optimizer=dict(lr=2e-3))
auto_scale_lr = dict(base_batch_size=1024)
