"""Linear probe of iBOT's ViT-S/16 at one rate: class tokens of the last four blocks."""

_base_ = '../../_base_/linear.py'

view = dict(type='CenterView', size=224, resize=256, interpolation='bicubic')
val_dataloader = dict(dataset=dict(pipeline=[dict(type='LoadImage'), view]))
test_dataloader = val_dataloader
model = dict(
    backbone=dict(type='VisionTransformer', arch='small'),
    blocks=4, pool='cls')
optim_wrapper = dict(optimizer=dict(lr=4e-3))     # 1e-3 for each 256 images, the script's default
train_cfg = dict(max_epochs=100)
