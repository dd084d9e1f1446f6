"""Mask R-CNN with narrow heads, a pyramid of 64 channels, AdamW: minutes on two cores."""

_base_ = ['mmdet::_base_/models/mask-rcnn_r50_fpn.py', 'mmdet::_base_/default_runtime.py']

pretrained = None
wide = 64
model = dict(
    neck=dict(out_channels=wide),
    rpn_head=dict(in_channels=wide, feat_channels=wide),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=wide),
        bbox_head=dict(in_channels=wide, fc_out_channels=256),
        mask_roi_extractor=dict(out_channels=wide),
        mask_head=dict(num_convs=2, in_channels=wide, conv_out_channels=wide)),
    train_cfg=dict(
        rpn_proposal=dict(nms_pre=500, max_per_img=200), rcnn=dict(sampler=dict(num=64))),
    test_cfg=dict(rpn=dict(nms_pre=500, max_per_img=200), rcnn=dict(max_per_img=50)))

optim_wrapper = dict(
    optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.05), clip_grad=dict(max_norm=5.0))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=50),
    dict(type='CosineAnnealingLR', eta_min=0.0, convert_to_iter_based=True)]
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=8, val_interval=8)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
default_hooks = dict(
    logger=dict(interval=10), checkpoint=dict(interval=8))
randomness = dict(seed=0)
