"""EsViT, ViL 2262, view task only: the first 200 epochs of both tasks, batch 1024."""

_base_ = './esvit_swin-tiny-w7_16xb32-amp-mcrop-coslr-300e_in1k.py'

train_dataloader = dict(batch_size=64)
model = dict(backbone=dict(_delete_=True, type='ViL', drop_path_rate=0.1), type='DINO')
optim_wrapper = dict(optimizer=dict(lr=2e-3))
auto_scale_lr = dict(base_batch_size=1024)
default_hooks = dict(checkpoint=dict(max_keep_ckpts=13))     # epochs 180 to 300
