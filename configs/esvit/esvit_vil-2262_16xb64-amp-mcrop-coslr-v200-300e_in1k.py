"""EsViT, ViL 2262, views to epoch 200, then regions too, to 300; batch 1024."""

_base_ = './esvit_swin-tiny-w7_16xb32-amp-mcrop-coslr-300e_in1k.py'

train_dataloader = dict(batch_size=64)
model = dict(backbone=dict(_delete_=True, type='ViL', drop_path_rate=0.1))
optim_wrapper = dict(optimizer=dict(lr=2e-3))
auto_scale_lr = dict(base_batch_size=1024)
load_from = None          # the view task's file: --cfg-options load_from=PATH
load_part = 'all'         # heads and centres too; the region task's start anew
continue_epoch = True     # schedules go on at the file's epoch, with a fresh optimizer
