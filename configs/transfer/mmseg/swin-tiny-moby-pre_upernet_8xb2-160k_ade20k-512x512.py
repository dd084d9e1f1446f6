"""UPerNet on MoBY's Swin-T: 44.06 mIoU, 45.58 at six sizes and flipped, in MoBY's README.

Recipe: Swin-Transformer-Semantic-Segmentation, of whose settings MoBY changed none.
"""

_base_ = ['mmseg::_base_/models/upernet_swin.py', '../_base_/ade20k.py']

# any Swin-T: --cfg-options pretrained=FILE, address, or name of a model
pretrained = 'moby_swin-tiny_3rdparty_8xb64-amp-coslr-300e_in1k'
model = dict(
    data_preprocessor=dict(size=(512, 512)),
    backbone=dict(drop_path_rate=0.3),
    decode_head=dict(num_classes=150),
    auxiliary_head=dict(num_classes=150))
