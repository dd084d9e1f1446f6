"""UPerNet on a plain ViT: normed maps of four blocks, scaled to strides 4 to 32."""

_base_ = 'mmseg::_base_/models/upernet_mae.py'

custom_imports = dict(imports=['mmssl.transfer'], allow_failed_imports=False)
norm = dict(type='SyncBN', requires_grad=True)
model = dict(
    data_preprocessor=dict(size=(512, 512)),
    backbone=dict(
        _delete_=True,
        type='mmssl.VisionTransformer',
        arch='small',
        drop_path_rate=0.1,
        out_indices=(3, 5, 7, 11),
        out_norm='last'),
    neck=dict(embed_dim=384, norm_cfg=norm),
    decode_head=dict(in_channels=[384] * 4, channels=384, num_classes=150),
    auxiliary_head=dict(in_channels=384, num_classes=150),
    test_cfg=dict(mode='slide', crop_size=(512, 512), stride=(341, 341)))
