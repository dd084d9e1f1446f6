"""EsViT, Swin-T (window 7), view task only, 300 epochs, batch 1024, as compared over data sets."""

_base_ = './esvit_swin-tiny-w7_16xb32-amp-mcrop-coslr-300e_in1k.py'

train_dataloader = dict(batch_size=64)
model = dict(type='DINO')
optim_wrapper = dict(optimizer=dict(lr=2e-3))
auto_scale_lr = dict(base_batch_size=1024)
