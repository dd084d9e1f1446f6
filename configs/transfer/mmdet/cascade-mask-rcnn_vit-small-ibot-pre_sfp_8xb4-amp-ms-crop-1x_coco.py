"""Cascade Mask R-CNN on iBOT's ViT-S/16 with a pyramid made of its last map: no published figure.

Recipe: iBOT's, with the simple feature pyramid of ViTDet in place of its four maps and FPN.
"""

_base_ = ['../_base_/cascade_vit.py', '../_base_/coco_1x.py']

# any ViT-S/16: --cfg-options pretrained=FILE, address, or name of a model
pretrained = 'ibot_vit-small-p16_3rdparty_16xb64-amp-mcrop-coslr-800e_in1k'
model = dict(
    backbone=dict(arch='small', drop_path_rate=0.1, out_indices=(11,)),
    neck=dict(_delete_=True, type='mmssl.SimpleFPN', in_channels=384))
train_dataloader = dict(batch_size=4)
auto_scale_lr = dict(base_batch_size=32)

optim_wrapper = dict(
    constructor='mmssl.ParamGroupConstructor',
    paramwise_cfg=dict(_delete_=True, rules=[
        dict(ndim=1, decay_mult=0.0),   # positions and class token do decay
        dict(match=r'^backbone\.', layer_decay=0.8)]))
