"""A linear classifier of the patches of a frozen ViT, from the maps of four blocks."""

custom_imports = dict(imports=['mmssl.transfer'], allow_failed_imports=False)
model = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(
        type='SegDataPreProcessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_val=0,
        seg_pad_val=255,
        size=(512, 512)),
    backbone=dict(
        type='mmssl.VisionTransformer',
        arch='small',
        out_indices=(3, 5, 7, 11),
        frozen_stages=12),
    decode_head=dict(
        type='FCNHead',
        num_convs=0,
        concat_input=False,
        in_channels=[384] * 4,
        in_index=[0, 1, 2, 3],
        input_transform='resize_concat',
        channels=4 * 384,
        dropout_ratio=0.0,
        num_classes=150,
        align_corners=False,
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0)),
    train_cfg=dict(),
    test_cfg=dict(mode='slide', crop_size=(512, 512), stride=(341, 341)))
