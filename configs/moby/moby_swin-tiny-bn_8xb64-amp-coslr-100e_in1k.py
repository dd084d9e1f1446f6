"""MoBY, Swin-T with batch norm in front of every MLP, 100 epochs, batch 512."""

_base_ = './moby_swin-tiny_8xb64-amp-coslr-300e_in1k.py'

# settings are published for 300 epochs only; nothing but the length is changed
model = dict(backbone=dict(norm_before_mlp='batch'))
train_cfg = dict(max_epochs=100)
