"""iBOT, Swin-T (window 7), block masks, 300 epochs, batch 1024.

The README names 16 GPUs for this window; 64 images on each are [memory], the rest is its command
for window 14. Masks begin at epoch 50, a cell of them is a token of the last stage.
"""

_base_ = './ibot_vit-small-p16_16xb64-amp-mcrop-coslr-800e_in1k.py'

mask = dict(type='PatchMask', patch_size=32, ratio=(0.0, 0.3), var=(0.0, 0.2), start_epoch=50)
multi = dict(type='MultiView', views={{_base_.views}}, mask=mask)
train_dataloader = dict(dataset=dict(pipeline=[dict(type='LoadImage'), multi]))
model = dict(
    backbone=dict(
        _delete_=True, type='SwinTransformer', arch='tiny', norm_eps=1e-6,
        drop_path_rate=0.1),
    neck=dict(dims=(768, 2048, 2048, 256)))
train_cfg = dict(max_epochs=300)
