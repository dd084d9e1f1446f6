"""Mask R-CNN on torchvision's supervised ResNet-50, 12 epochs: 38.2 box AP, 34.7 mask AP.

Recipe and figures: mmdet's own. Stem and first stage stay frozen, so do all batch norms.
"""

_base_ = 'mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py'

# any ResNet-50: --cfg-options pretrained=FILE, address, or name of a model
pretrained = 'https://download.pytorch.org/models/resnet50-0676ba61.pth'
model = dict(backbone=dict(init_cfg=None))
