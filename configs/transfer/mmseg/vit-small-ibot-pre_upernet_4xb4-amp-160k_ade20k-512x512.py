"""UPerNet on iBOT's ViT-S/16: 45.4 mIoU in iBOT's paper.

Recipe: iBOT's evaluation/README.md and its settings. SERE points to the same recipe.
"""

_base_ = ['../_base_/upernet_vit.py', '../_base_/ade20k_amp_vit.py']

# any ViT-S/16: --cfg-options pretrained=FILE, address, or name of a model
pretrained = 'ibot_vit-small-p16_3rdparty_16xb64-amp-mcrop-coslr-800e_in1k'
model = dict(backbone=dict(arch='small'))
train_dataloader = dict(batch_size=4)

optim_wrapper = dict(
    constructor='mmssl.ParamGroupConstructor',
    optimizer=dict(lr=3e-5),
    paramwise_cfg=dict(rules=[
        dict(ndim=1, decay_mult=0.0),   # positions and class token do decay
        dict(match=r'^backbone\.', layer_decay=0.9)]))
