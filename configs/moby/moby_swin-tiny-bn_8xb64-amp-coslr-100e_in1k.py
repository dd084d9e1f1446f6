"""MoBY, Swin-T with batch norm in front of every MLP, 100 epochs, batch 512."""

_base_ = './moby_swin-tiny_8xb64-amp-coslr-300e_in1k.py'

# drop path of the 100-epoch runs: see moby_swin-tiny_8xb64-amp-coslr-100e_in1k.py
model = dict(backbone=dict(norm_before_mlp='batch', drop_path_rate=0.1))
train_cfg = dict(max_epochs=100)
