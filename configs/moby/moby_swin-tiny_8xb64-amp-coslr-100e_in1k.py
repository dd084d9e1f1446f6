"""MoBY, Swin-T, 100 epochs, batch 512: the length of the paper's ablations."""

_base_ = './moby_swin-tiny_8xb64-amp-coslr-300e_in1k.py'

# official settings are published for 300 epochs only; this rate is quoted from the paper by memory
model = dict(backbone=dict(drop_path_rate=0.1))
train_cfg = dict(max_epochs=100)
