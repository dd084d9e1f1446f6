"""EsViT, ViL 2262, view task only, 300 epochs, batch 512.

The released run's folder is named after mode 0 (all nine chunks), the official command says 1.
"""

_base_ = './esvit_swin-tiny-w7_16xb32-amp-mcrop-coslr-300e_in1k.py'

model = dict(backbone=dict(_delete_=True, type='ViL', drop_path_rate=0.1, mode=0), type='DINO')
