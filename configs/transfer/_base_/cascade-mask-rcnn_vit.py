"""Cascade Mask R-CNN on a plain ViT: maps of four blocks, scaled to strides 4 to 32, then FPN.

The width of ``neck[0]`` and ``neck[1]`` is the backbone's; configs say both.
"""

_base_ = './cascade-mask-rcnn_4conv1fc.py'

model = dict(
    backbone=dict(
        _delete_=True,
        type='mmssl.VisionTransformer',
        arch='small',
        drop_path_rate=0.1,
        out_indices=(3, 5, 7, 11)))
find_unused_parameters = True   # the last norm of the ViT is not used by maps
