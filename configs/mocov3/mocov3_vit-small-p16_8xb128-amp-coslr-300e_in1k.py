"""MoCo v3, ViT-S/16, 300 epochs, batch 1024: the README's recipe for one machine."""

_base_ = './mocov3_vit-small-p16_16xb256-amp-coslr-300e_in1k.py'

train_dataloader = dict(batch_size=128)
optim_wrapper = dict(optimizer=dict(lr=6e-4))     # 1.5e-4 for each 256 images
auto_scale_lr = dict(base_batch_size=1024)
