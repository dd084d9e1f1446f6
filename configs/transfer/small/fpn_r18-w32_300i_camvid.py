"""Semantic FPN with a half-width ResNet-18 on CamVid: a check of a pretraining."""

_base_ = ['_base_/fpn.py', '_base_/camvid.py']

model = dict(
    backbone=dict(
        type='ResNet', depth=18, base_channels=32, stem_channels=32,
        norm_cfg=dict(type='BN', requires_grad=True)),
    neck=dict(in_channels=[32, 64, 128, 256]),
    decode_head=dict(num_classes=11, norm_cfg=dict(type='BN', requires_grad=True)))
train_dataloader = dict(batch_size=4)
