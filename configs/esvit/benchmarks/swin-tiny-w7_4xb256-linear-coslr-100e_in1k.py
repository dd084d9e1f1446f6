"""Linear probe of EsViT's Swin-T (window 7): the last four blocks, 100 epochs, batch 1024."""

_base_ = '../../_base_/linear.py'

view = dict(type='CenterView', size=224, resize=256, interpolation='bicubic')
train_dataloader = dict(batch_size=256)
val_dataloader = dict(dataset=dict(pipeline=[dict(type='LoadImage'), view]))
test_dataloader = val_dataloader
model = dict(
    backbone=dict(type='SwinTransformer', arch='tiny', norm_eps=1e-6),
    blocks=4)
optim_wrapper = dict(optimizer=dict(lr=4e-3))     # 1e-3 for each 256 images, the script's default
train_cfg = dict(max_epochs=100)
