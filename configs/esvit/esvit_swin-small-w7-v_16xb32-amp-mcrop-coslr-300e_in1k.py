"""EsViT, Swin-S (window 7), view task only, 300 epochs, batch 512."""

_base_ = './esvit_swin-tiny-w7_16xb32-amp-mcrop-coslr-300e_in1k.py'

model = dict(backbone=dict(arch='small', drop_path_rate=0.2), type='DINO')
