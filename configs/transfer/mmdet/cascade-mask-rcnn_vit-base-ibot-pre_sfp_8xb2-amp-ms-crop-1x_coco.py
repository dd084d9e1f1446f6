"""Cascade Mask R-CNN on iBOT's ViT-B/16 with a pyramid made of its last map: no published figure.

Recipe: iBOT's, with the simple feature pyramid of ViTDet in place of its four maps and FPN.
"""

_base_ = ['../_base_/cascade_vit.py', '../_base_/coco_1x.py']

# any ViT-B/16: --cfg-options pretrained=FILE, address, or name of a model
pretrained = 'ibot_vit-base-p16_3rdparty_32xb32-amp-mcrop-coslr-400e_in1k'
model = dict(
    backbone=dict(arch='base', drop_path_rate=0.2, out_indices=(11,)),
    neck=dict(_delete_=True, type='mmssl.SimpleFPN', in_channels=768))
train_dataloader = dict(batch_size=2)
auto_scale_lr = dict(base_batch_size=16)

optim_wrapper = dict(
    constructor='mmssl.ParamGroupConstructor',
    paramwise_cfg=dict(_delete_=True, rules=[
        dict(ndim=1, decay_mult=0.0),   # positions and class token do decay
        dict(match=r'^backbone\.', layer_decay=0.75)]))
