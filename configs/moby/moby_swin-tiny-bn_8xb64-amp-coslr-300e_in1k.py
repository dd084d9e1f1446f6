"""MoBY, Swin-T with batch norm in front of every MLP, 300 epochs, batch 512."""

_base_ = './moby_swin-tiny_8xb64-amp-coslr-300e_in1k.py'

# registered batch norm, as meant; the official code trains layer norm under this name (README)
model = dict(backbone=dict(norm_before_mlp='batch'))
