"""A linear classifier on iBOT's frozen ViT-B/16: 38.3 mIoU in iBOT's paper.

Recipe: iBOT's evaluation/README.md and its settings. SERE points to the same recipe.
"""

_base_ = ['../_base_/linear_vit.py', '../_base_/ade20k_amp_vit.py']

# any ViT-B/16: --cfg-options pretrained=FILE, address, or name of a model
pretrained = 'ibot_vit-base-p16_3rdparty_32xb32-amp-mcrop-coslr-400e_in1k'
model = dict(
    backbone=dict(arch='base', out_norm='last'),
    decode_head=dict(in_channels=[768] * 4, channels=4 * 768))
train_dataloader = dict(batch_size=4)
optim_wrapper = dict(optimizer=dict(lr=8e-4))
