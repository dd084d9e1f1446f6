"""Linear probe of MoBY's Swin-T with batch norm before the MLP: the settings of Swin-T."""

_base_ = './swin-tiny_8xb64-amp-linear-coslr-100e_in1k.py'

model = dict(backbone=dict(norm_before_mlp='batch'))
