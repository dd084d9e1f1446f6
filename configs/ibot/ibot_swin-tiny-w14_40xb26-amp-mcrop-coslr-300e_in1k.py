"""iBOT, Swin-T (window 14), block masks, 300 epochs, batch 1040.

The command of the official README. Masks begin at epoch 50, a cell of them is a token of the last
stage.
"""

_base_ = './ibot_vit-small-p16_16xb64-amp-mcrop-coslr-800e_in1k.py'

mask = dict(type='PatchMask', patch_size=32, ratio=(0.0, 0.3), var=(0.0, 0.2), start_epoch=50)
multi = dict(type='MultiView', views={{_base_.views}}, mask=mask)
train_dataloader = dict(batch_size=26, dataset=dict(pipeline=[dict(type='LoadImage'), multi]))
model = dict(
    backbone=dict(
        _delete_=True, type='SwinTransformer', arch='tiny', window_size=14, norm_eps=1e-6,
        drop_path_rate=0.1),
    neck=dict(dims=(768, 2048, 2048, 256)))
optim_wrapper = dict(optimizer=dict(lr=2.03125e-3))     # 5e-4 for each 256 images
auto_scale_lr = dict(base_batch_size=1040)
train_cfg = dict(max_epochs=300)
