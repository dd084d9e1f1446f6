"""Mask R-CNN with a half-width ResNet-18 on Penn-Fudan at 160 px: a check of a pretraining."""

_base_ = ['_base_/mask-rcnn.py', '_base_/pennfudan.py']

model = dict(
    backbone=dict(
        depth=18, base_channels=32, stem_channels=32, frozen_stages=-1, norm_eval=False,
        init_cfg=None),
    neck=dict(in_channels=[32, 64, 128, 256]),
    roi_head=dict(bbox_head=dict(num_classes=1), mask_head=dict(num_classes=1)))
