"""SERE on iBOT beside the other methods: masked patches, four local views more.

A laptop's recipe. Given up against ViT-S/16: the network (2 blocks of 64 channels on 32 px), 64
prototypes for 8,192, four small crops for ten, batch 64 for 1024, 16 epochs for 100.
"""

_base_ = './ibot_vit-conv_1xb64-16e_shapes.py'

model = dict(
    type='SERE',
    relation=dict(     # grids of 4 x 4 and 2 x 2 patches
        alpha=0.2, beta=0.5, temperatures=(0.5, 0.1), overlap_size=(4, 4), local_grid=2,
        divisor=(4, 2)))
rules = [     # biases decay, the scales of norms do not
    dict(ndim=1, decay_mult=0.0), dict(match=r'\.bias$', decay_mult=1.0),
    dict(match='last_layer', frozen_epochs=1)]
optim_wrapper = dict(paramwise_cfg=dict(rules=rules))
