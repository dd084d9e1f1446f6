"""Linear probe of iBOT's ViT-B/16: class token and mean patch of the last block, 45 rates."""

_base_ = './vit-small-p16_8xb128-linear-sweep-coslr-100e_in1k.py'

model = dict(backbone=dict(arch='base'), blocks=1, pool='cls+mean')
