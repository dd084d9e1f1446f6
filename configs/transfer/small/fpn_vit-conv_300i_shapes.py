"""Semantic FPN on the embedded shapes with the ViT of the quickstart: make transfer-demo."""

_base_ = ['_base_/fpn.py', '_base_/shapes_semantic.py']

custom_imports = dict(imports=['mmssl.transfer'], allow_failed_imports=False)
norm_cfg = dict(type='BN', requires_grad=True)
model = dict(
    backbone=dict(
        _delete_=True, type='mmssl.VisionTransformer', arch=(96, 4, 4), img_size=32, patch_size=8,
        positions='sincos', stem='conv', init='moco', out_indices=(0, 1, 2, 3)),
    neck=[   # of maps of stride 8, levels of 4, 8, 16 and 32
        dict(type='Feature2Pyramid', embed_dim=96, rescales=[2, 1, 0.5, 0.25], norm_cfg=norm_cfg),
        dict(type='FPN', in_channels=[96] * 4, out_channels=64, num_outs=4)],
    decode_head=dict(num_classes=9, norm_cfg=norm_cfg))
find_unused_parameters = True   # the last norm of the ViT is not used by maps
