"""UPerNet on supervised Swin-T: 44.51 mIoU, 45.81 at six sizes and flipped, in MoBY's README.

Recipe: Swin-Transformer-Semantic-Segmentation, of whose settings MoBY changed none.
"""

_base_ = ['mmseg::_base_/models/upernet_swin.py', '../_base_/ade20k.py']

# any Swin-T: --cfg-options pretrained=FILE, address, or name of a model
pretrained = (
    'https://github.com/SwinTransformer/storage/releases/download/v1.0.0/'
    'swin_tiny_patch4_window7_224.pth')
model = dict(
    data_preprocessor=dict(size=(512, 512)),
    backbone=dict(drop_path_rate=0.3),
    decode_head=dict(num_classes=150),
    auxiliary_head=dict(num_classes=150))
