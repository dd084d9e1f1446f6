"""A linear classifier on iBOT's frozen ViT-S/16: settings without a published figure.

Recipe: iBOT's settings for ViT-S, which leave the maps without the last norm.
"""

_base_ = ['../_base_/linear_vit.py', '../_base_/ade20k_amp_vit.py']

# any ViT-S/16: --cfg-options pretrained=FILE, address, or name of a model
pretrained = 'ibot_vit-small-p16_3rdparty_16xb64-amp-mcrop-coslr-800e_in1k'
optim_wrapper = dict(optimizer=dict(lr=3e-5))
