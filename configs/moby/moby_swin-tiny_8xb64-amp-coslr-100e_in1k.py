"""MoBY, Swin-T, 100 epochs, batch 512: the length of the paper's ablations."""

_base_ = './moby_swin-tiny_8xb64-amp-coslr-300e_in1k.py'

# settings are published for 300 epochs only; nothing but the length is changed
train_cfg = dict(max_epochs=100)
