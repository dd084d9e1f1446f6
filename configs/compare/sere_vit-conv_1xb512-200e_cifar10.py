"""SERE on iBOT beside the other methods: masked patches, four local views more."""

_base_ = './ibot_vit-conv_1xb512-200e_cifar10.py'

model = dict(
    type='SERE',
    relation=dict(     # grids of 8 x 8 and 4 x 4 patches
        alpha=0.2, beta=0.5, temperatures=(0.5, 0.1), overlap_size=(7, 7), local_grid=4,
        divisor=(8, 4)))
rules = [     # biases decay, the scales of norms do not
    dict(ndim=1, decay_mult=0.0), dict(match=r'\.bias$', decay_mult=1.0),
    dict(match='last_layer', frozen_epochs=1)]
optim_wrapper = dict(paramwise_cfg=dict(rules=rules))
