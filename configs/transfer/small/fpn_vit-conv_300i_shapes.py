"""Semantic FPN on the embedded shapes with the ViT of the quickstart: make transfer-demo."""

_base_ = ['_base_/fpn.py', '_base_/shapes_semantic.py']

custom_imports = dict(imports=['mmssl.transfer'], allow_failed_imports=False)
norm_cfg = dict(type='BN', requires_grad=True)
model = dict(
    backbone=dict(
        _delete_=True, type='mmssl.VisionTransformer', arch=(64, 2, 4), img_size=32, patch_size=8,
        positions='sincos', stem='conv', init='moco'),
    neck=dict(   # of a map of stride 8, levels of 4, 8, 16 and 32
        _delete_=True, type='mmssl.SimpleFPN', in_channels=64, out_channels=64,
        scales=(2, 1, 0.5), num_outs=4),
    decode_head=dict(num_classes=9, norm_cfg=norm_cfg))
find_unused_parameters = True   # the last norm of the ViT is not used by maps
