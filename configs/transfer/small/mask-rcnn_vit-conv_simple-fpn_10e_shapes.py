"""Mask R-CNN on the embedded shapes with the ViT of the quickstart: make transfer-demo."""

_base_ = ['_base_/mask-rcnn.py', '_base_/shapes_instance.py']

custom_imports = dict(imports=['mmssl.transfer'], allow_failed_imports=False)
model = dict(
    backbone=dict(
        _delete_=True, type='mmssl.VisionTransformer', arch=(64, 2, 4), img_size=32, patch_size=8,
        positions='sincos', stem='conv', init='moco'),
    neck=dict(   # of a map of stride 8, levels of 4, 8, 16 and 32
        _delete_=True, type='mmssl.SimpleFPN', in_channels=64, out_channels=64,
        scales=(2, 1, 0.5), num_outs=4),
    rpn_head=dict(anchor_generator=dict(strides=[4, 8, 16, 32])),
    roi_head=dict(bbox_head=dict(num_classes=8), mask_head=dict(num_classes=8)))
find_unused_parameters = True   # the last norm of the ViT is not used by maps
train_cfg = dict(max_epochs=10, val_interval=10)
default_hooks = dict(checkpoint=dict(interval=10))
