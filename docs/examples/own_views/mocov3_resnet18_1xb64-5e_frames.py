"""MoCo v3 on pairs of frames that the data set of this folder makes."""

_base_ = '../../../configs/_base_/pretrain.py'

custom_imports = dict(imports=['pairs'])
train_dataloader = dict(
    batch_size=64, num_workers=2,
    dataset=dict(_delete_=True, type='NeighbouringFrames', count=512, size=32))
val_cfg = None  # nothing to measure

model = dict(
    type='MoCoV3',
    backbone=dict(type='ResNet', depth=18, width=16, small_stem=True),
    neck=dict(type='MLP', dims=(128, 256, 64), last_norm=True),
    head=dict(
        type='ContrastiveHead', temperature=0.2, scaled=True,
        predictor=dict(type='MLP', dims=(64, 256, 64))),
    momentum=dict(start=0.99, final=1.0))

optim_wrapper = dict(optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.05))
param_scheduler = [dict(type='ScheduleParam', param_name='lr', final=0.0, warmup=1)]
train_cfg = dict(max_epochs=5)
