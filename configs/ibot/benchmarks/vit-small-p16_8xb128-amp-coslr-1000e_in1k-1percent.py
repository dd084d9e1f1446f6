"""Fine-tuning a ViT-S/16 pretrained with iBOT on 1 % of ImageNet's labels, 1000 epochs.

DeiT's way from inside the projector, after its first layer. The rate, 5e-6 for 512 images, is at
its minimum after the warm-up. Class token and positions decay too.
"""

_base_ = '../../_base_/finetune_deit.py'

protocol = '1% labels'
train_dataloader = dict(
    batch_size=128,
    dataset=dict(subset='1percent.txt'))   # below data_root
model = dict(
    backbone=dict(type='VisionTransformer', arch='small', drop_path_rate=0.1),
    head=dict(type='ProjectorHead', hidden=2048))
rules = [dict(ndim=1, decay_mult=0.0)]
optim_wrapper = dict(optimizer=dict(lr=1e-5), paramwise_cfg=dict(rules=rules))
auto_scale_lr = dict(base_batch_size=1024)
train_cfg = dict(max_epochs=1000)
