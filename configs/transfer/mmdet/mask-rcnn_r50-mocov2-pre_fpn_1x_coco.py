"""Mask R-CNN on MoCo v2's ResNet-50, 12 epochs: 38.0 box AP, 34.3 mask AP.

Recipe and figures: mmdet's own. Batch norm is synchronised and trained, only the stem stays frozen
(frozen_stages=0: conv1 and bn1; -1 would train them too); FPN and heads have no norm.
"""

_base_ = 'mmdet::selfsup_pretrain/mask-rcnn_r50-mocov2-pre_fpn_1x_coco.py'

# any ResNet-50: --cfg-options pretrained=FILE, address, or name of a model
pretrained = 'mocov2_resnet50_3rdparty_8xb32-coslr-800e_in1k'
model = dict(backbone=dict(init_cfg=None))
