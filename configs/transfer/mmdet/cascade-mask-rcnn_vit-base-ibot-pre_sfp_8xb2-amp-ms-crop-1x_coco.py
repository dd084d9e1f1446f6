"""Cascade Mask R-CNN on iBOT's ViT-B/16 with a pyramid out of its last map alone: nobody's figure.

Recipe: iBOT's, with the simple feature pyramid of ViTDet in place of its four maps and FPN.
"""

_base_ = './cascade-mask-rcnn_vit-base-ibot-pre_fpn_8xb2-amp-ms-crop-1x_coco.py'

model = dict(
    backbone=dict(out_indices=(11,)),
    neck=dict(_delete_=True, type='mmssl.SimpleFPN', in_channels=768))
