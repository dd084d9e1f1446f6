"""Cascade Mask R-CNN on iBOT's ViT-S/16, 12 epochs: 49.4 box AP, 42.6 mask AP in iBOT's paper.

Recipe: iBOT's evaluation/README.md and its settings. Four blocks are scaled to a pyramid, then FPN.
SERE points to the same recipe.
"""

_base_ = ['../_base_/cascade_vit.py', '../_base_/coco_1x.py']

# any ViT-S/16: --cfg-options pretrained=FILE, address, or name of a model
pretrained = 'ibot_vit-small-p16_3rdparty_16xb64-amp-mcrop-coslr-800e_in1k'
pyramid = dict(type='mmseg.Feature2Pyramid', embed_dim=384, norm_cfg=dict(type='SyncBN'))
model = dict(
    backbone=dict(arch='small', drop_path_rate=0.1),
    neck=[pyramid, dict(type='FPN', in_channels=[384] * 4, out_channels=256, num_outs=5)])
train_dataloader = dict(batch_size=4)
auto_scale_lr = dict(base_batch_size=32)

optim_wrapper = dict(
    constructor='mmssl.ParamGroupConstructor',
    paramwise_cfg=dict(_delete_=True, rules=[
        dict(ndim=1, decay_mult=0.0),   # positions and class token do decay
        dict(match=r'^backbone\.', layer_decay=0.8)]))
