"""Mask R-CNN on torchvision's supervised ResNet-50, 24 epochs, several sizes: nobody's figure.

Recipe: the data and schedule of mmdet's self-supervised rows, the frozen parts of its supervised
one (stem, first stage and all batch norms).
"""

_base_ = 'mmdet::selfsup_pretrain/mask-rcnn_r50-mocov2-pre_fpn_ms-2x_coco.py'

# any ResNet-50: --cfg-options pretrained=FILE, address, or name of a model
pretrained = 'https://download.pytorch.org/models/resnet50-0676ba61.pth'
model = dict(
    backbone=dict(frozen_stages=1, norm_cfg=dict(type='BN'), norm_eval=True, init_cfg=None))
