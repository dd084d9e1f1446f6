"""EsViT, Swin-S (window 14), view task only: the first 180 epochs of both tasks, batch 512."""

_base_ = './esvit_swin-tiny-w7_16xb32-amp-mcrop-coslr-300e_in1k.py'

train_dataloader = dict(batch_size=16)
model = dict(
    backbone=dict(arch='small', window_size=14, drop_path_rate=0.2),
    type='DINO')
default_hooks = dict(checkpoint=dict(max_keep_ckpts=13))     # epochs 180 to 300
