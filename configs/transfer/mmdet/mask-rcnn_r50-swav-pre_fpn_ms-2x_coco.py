"""Mask R-CNN on SwAV's ResNet-50, 24 epochs, several sizes: 41.3 box AP, 37.3 mask AP.

Recipe and figures: mmdet's own. Batch norm is synchronised and trained, only the stem stays frozen
(frozen_stages=0: conv1 and bn1; -1 would train them too); FPN and heads have no norm.
"""

_base_ = 'mmdet::selfsup_pretrain/mask-rcnn_r50-swav-pre_fpn_ms-2x_coco.py'

# any ResNet-50: --cfg-options pretrained=FILE, address, or name of a model
pretrained = 'swav_resnet50_3rdparty_64xb64-amp-mcrop-coslr-800e_in1k-224px-96px'
model = dict(backbone=dict(init_cfg=None))
