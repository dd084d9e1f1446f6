"""Mask R-CNN with ResNet-50 on Penn-Fudan at full size, for a GPU: synchronised batch norms."""

_base_ = [
    'mmdet::_base_/models/mask-rcnn_r50_fpn.py', 'mmdet::_base_/default_runtime.py',
    '_base_/pennfudan.py']

pretrained = None
resize = dict(type='RandomResize', scale=[(1333, 480), (1333, 800)], keep_ratio=True)
load = [dict(type='LoadImageFromFile'),
        dict(type='LoadAnnotations', with_bbox=True, with_mask=True)]
train_dataloader = dict(
    batch_size=4, num_workers=4, dataset=dict(
        pipeline=[*load, resize, dict(type='RandomFlip', prob=0.5), dict(type='PackDetInputs')]))
val_dataloader = dict(dataset=dict(pipeline=[
    load[0], dict(type='Resize', scale=(1333, 800), keep_ratio=True), load[1], dict(
        type='PackDetInputs',
        meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor'))]))
test_dataloader = val_dataloader
model = dict(
    backbone=dict(
        frozen_stages=-1, norm_eval=False, norm_cfg=dict(type='SyncBN'), init_cfg=None),
    roi_head=dict(bbox_head=dict(num_classes=1), mask_head=dict(num_classes=1)))

optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.005, momentum=0.9, weight_decay=1e-4))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=100),
    dict(type='MultiStepLR', by_epoch=True, milestones=[16, 22])]
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=24, val_interval=4)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
