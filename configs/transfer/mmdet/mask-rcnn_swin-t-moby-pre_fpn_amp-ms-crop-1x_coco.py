"""Mask R-CNN on MoBY's Swin-T, 12 epochs: 43.6 box AP, 39.6 mask AP in MoBY's README.

Recipe: Swin-Transformer-Object-Detection, of whose settings MoBY changed none.
"""

_base_ = ['../_base_/mask-rcnn_swin-t.py', '../_base_/coco_1x.py']

# any Swin-T: --cfg-options pretrained=FILE, address, or name of a model
pretrained = 'moby_swin-tiny_3rdparty_8xb64-amp-coslr-300e_in1k'
model = dict(backbone=dict(drop_path_rate=0.1))
