"""EsViT, Swin-L (window 7), views and regions, 300 epochs, batch 512.

Unpublished: the official code offers this size, no figure exists. Settings are those of Swin-B.
"""

_base_ = './esvit_swin-tiny-w7_16xb32-amp-mcrop-coslr-300e_in1k.py'

train_dataloader = dict(batch_size=8)
model = dict(
    backbone=dict(arch='large', drop_path_rate=0.2),
    neck=dict(dims=(1536, 2048, 2048, 256)))
