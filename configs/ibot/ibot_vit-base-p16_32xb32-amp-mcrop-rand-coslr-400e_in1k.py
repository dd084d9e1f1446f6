"""iBOT, ViT-B/16, random masks, 400 epochs, batch 1024.

What it inherits is for random masks [3rd] too, number of epochs, batch and rate [memory].
"""

_base_ = './ibot_vit-base-p16_32xb32-amp-mcrop-coslr-400e_in1k.py'

mask = dict(type='PatchMask', ratio=(0.0, 0.7), var=(0.0, 0.05), shape='rand')     # [3rd]
multi = dict(type='MultiView', views={{_base_.views}}, mask=mask)
train_dataloader = dict(dataset=dict(pipeline=[dict(type='LoadImage'), multi]))
