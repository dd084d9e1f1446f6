"""Cascade Mask R-CNN on MoBY's Swin-T, 36 epochs: 50.2 box AP, 43.5 mask AP in MoBY's README.

Recipe: Swin-Transformer-Object-Detection, of whose settings MoBY changed none.
"""

_base_ = ['../_base_/cascade_swin-t.py', '../_base_/coco_1x.py']

# any Swin-T: --cfg-options pretrained=FILE, address, or name of a model
pretrained = 'moby_swin-tiny_3rdparty_8xb64-amp-coslr-300e_in1k'
model = dict(backbone=dict(drop_path_rate=0.2))
train_cfg = dict(max_epochs=36)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=500),
    dict(type='MultiStepLR', begin=0, end=36, by_epoch=True, milestones=[27, 33], gamma=0.1)]
