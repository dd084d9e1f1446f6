"""EsViT, ViL 2262, views and regions, 300 epochs, batch 512.

The command of the official page (mode 1); its released weights come from v200-300e at batch 1024.
"""

_base_ = './esvit_swin-tiny-w7_16xb32-amp-mcrop-coslr-300e_in1k.py'

model = dict(backbone=dict(_delete_=True, type='ViL', drop_path_rate=0.1))
