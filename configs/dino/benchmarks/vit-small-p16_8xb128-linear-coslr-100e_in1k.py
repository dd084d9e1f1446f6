"""Linear probe of DINO's ViT-S/16: class tokens of the last four blocks, 100 epochs, batch 1024.

The rate is the script's default; the authors tune it for each file.
"""

_base_ = '../../_base_/linear.py'

view = dict(type='CenterView', size=224, resize=256, interpolation='bicubic')
val_dataloader = dict(dataset=dict(pipeline=[dict(type='LoadImage'), view]))
test_dataloader = val_dataloader
model = dict(
    backbone=dict(type='VisionTransformer', arch='small'),
    blocks=4, pool='cls')
optim_wrapper = dict(optimizer=dict(lr=4e-3))     # 1e-3 for each 256 images
train_cfg = dict(max_epochs=100)
