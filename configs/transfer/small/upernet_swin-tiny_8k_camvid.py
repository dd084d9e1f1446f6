"""UPerNet with Swin-T on CamVid at full size, for a GPU; MoBY's ADE20K settings, 8k steps."""

_base_ = [
    'mmseg::_base_/models/upernet_swin.py', 'mmseg::_base_/default_runtime.py',
    'mmseg::_base_/schedules/schedule_20k.py', '_base_/camvid.py']

pretrained = None
crop_size = (360, 480)
resize = dict(type='RandomResize', scale=(480, 360), ratio_range=(0.5, 2.0), keep_ratio=True)
train_dataloader = dict(num_workers=4, dataset=dict(pipeline=[
    dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'), resize,
    dict(type='RandomCrop', crop_size=crop_size, cat_max_ratio=0.75),
    dict(type='RandomFlip', prob=0.5), dict(type='PhotoMetricDistortion'),
    dict(type='PackSegInputs')]))
model = dict(
    data_preprocessor=dict(size=crop_size),
    decode_head=dict(num_classes=11), auxiliary_head=dict(num_classes=11))

optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='AdamW', lr=6e-5, weight_decay=0.01),
    paramwise_cfg=dict(custom_keys={
        'absolute_pos_embed': dict(decay_mult=0.0), 'norm': dict(decay_mult=0.0),
        'relative_position_bias_table': dict(decay_mult=0.0)}))
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-6, by_epoch=False, begin=0, end=500),
    dict(type='PolyLR', power=1.0, eta_min=0.0, by_epoch=False, begin=500, end=8000)]
train_cfg = dict(max_iters=8000, val_interval=2000)
