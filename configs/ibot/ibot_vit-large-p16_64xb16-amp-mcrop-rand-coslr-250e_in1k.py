"""iBOT, ViT-L/16, random masks, 250 epochs, batch 1024.

What it inherits from ViT-B is for ViT-L [memory], recalled and not read again.
"""

_base_ = './ibot_vit-base-p16_32xb32-amp-mcrop-coslr-400e_in1k.py'

mask = dict(type='PatchMask', ratio=(0.0, 0.7), var=(0.0, 0.05), shape='rand')     # [memory]
multi = dict(type='MultiView', views={{_base_.views}}, mask=mask)
train_dataloader = dict(     # 64 GPUs as in the README, 16 images each [memory]
    batch_size=16, dataset=dict(pipeline=[dict(type='LoadImage'), multi]))
model = dict(
    backbone=dict(arch='large', drop_path_rate=0.4),     # 0.4 [memory], uncertain: default 0.1
    neck=dict(dims=(1024, 2048, 2048, 256)))
train_cfg = dict(max_epochs=250)     # [memory]
