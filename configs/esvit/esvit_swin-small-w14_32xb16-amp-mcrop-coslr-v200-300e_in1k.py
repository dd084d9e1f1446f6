"""EsViT, Swin-S (window 14), views to epoch 200, then regions too, to 300; batch 512.

The command of the official page; its released weights go on from epoch 180.
"""

_base_ = './esvit_swin-tiny-w7_16xb32-amp-mcrop-coslr-300e_in1k.py'

train_dataloader = dict(batch_size=16)
model = dict(backbone=dict(arch='small', window_size=14, drop_path_rate=0.2))
load_from = None          # the view task's file: --cfg-options load_from=PATH
load_part = 'all'         # heads and centres too; the region task's start anew
continue_epoch = True     # schedules go on at the file's epoch, with a fresh optimizer
