"""UPerNet on iBOT's ViT-B/16: 50.0 mIoU in iBOT's paper.

Recipe: iBOT's evaluation/README.md and its settings. SERE points to the same recipe.
"""

_base_ = ['../_base_/upernet_vit.py', '../_base_/ade20k_amp_vit.py']

# any ViT-B/16: --cfg-options pretrained=FILE, address, or name of a model
pretrained = 'ibot_vit-base-p16_3rdparty_32xb32-amp-mcrop-coslr-400e_in1k'
model = dict(
    backbone=dict(arch='base'),
    neck=dict(embed_dim=768),
    decode_head=dict(in_channels=[768] * 4, channels=768),
    auxiliary_head=dict(in_channels=768))
train_dataloader = dict(batch_size=2)

optim_wrapper = dict(
    constructor='mmssl.ParamGroupConstructor',
    optimizer=dict(lr=8e-5),
    paramwise_cfg=dict(rules=[
        dict(ndim=1, decay_mult=0.0),   # positions and class token do decay
        dict(match=r'^backbone\.', layer_decay=0.65)]))
