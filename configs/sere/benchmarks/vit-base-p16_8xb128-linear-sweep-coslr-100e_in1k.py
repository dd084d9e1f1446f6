"""Linear probe of SERE's ViT-B/16 by iBOT's protocol; its authors publish no linear figure."""

_base_ = '../../ibot/benchmarks/vit-small-p16_8xb128-linear-sweep-coslr-100e_in1k.py'

model = dict(backbone=dict(arch='base'), blocks=1, pool='cls+mean')
