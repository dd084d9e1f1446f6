"""Cascade Mask R-CNN on iBOT's ViT-B/16, 12 epochs: 51.2 box AP, 44.2 mask AP in iBOT's paper.

Recipe: iBOT's evaluation/README.md and its settings. Four blocks are scaled to a pyramid, then FPN.
SERE points to the same recipe.
"""

_base_ = ['../_base_/cascade_vit.py', '../_base_/coco_1x.py']

# any ViT-B/16: --cfg-options pretrained=FILE, address, or name of a model
pretrained = 'ibot_vit-base-p16_3rdparty_32xb32-amp-mcrop-coslr-400e_in1k'
pyramid = dict(type='mmseg.Feature2Pyramid', embed_dim=768, norm_cfg=dict(type='SyncBN'))
model = dict(
    backbone=dict(arch='base', drop_path_rate=0.2),
    neck=[pyramid, dict(type='FPN', in_channels=[768] * 4, out_channels=256, num_outs=5)])
train_dataloader = dict(batch_size=2)
auto_scale_lr = dict(base_batch_size=16)

optim_wrapper = dict(
    constructor='mmssl.ParamGroupConstructor',
    paramwise_cfg=dict(_delete_=True, rules=[
        dict(ndim=1, decay_mult=0.0),   # positions and class token do decay
        dict(match=r'^backbone\.', layer_decay=0.75)]))
