"""Linear probe of DINO's ViT-B/16: class token and mean patch by turns, at the default rate."""

_base_ = './vit-small-p16_8xb128-linear-coslr-100e_in1k.py'

model = dict(backbone=dict(arch='base'), blocks=1, pool='interleaved')
