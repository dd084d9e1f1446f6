"""Cascade Mask R-CNN on a plain ViT: maps of four blocks, scaled to strides 4 to 32, then FPN.

Configs add the neck, which is as wide as their backbone.
"""

_base_ = './cascade-mask-rcnn_4conv1fc.py'

custom_imports = dict(imports=['mmssl.transfer'], allow_failed_imports=False)
model = dict(
    backbone=dict(
        _delete_=True,
        type='mmssl.VisionTransformer',
        arch='small',
        drop_path_rate=0.1,
        out_indices=(3, 5, 7, 11)))
find_unused_parameters = True   # the last norm of the ViT is not used by maps
