"""COCO as the Swin and iBOT detectors train on it: AdamW, 12 epochs, sides of 480 to 800, crops."""

_base_ = [
    'mmdet::_base_/datasets/coco_instance.py',
    'mmdet::_base_/schedules/schedule_1x.py',   # warm-up 500 iterations from 0.001, steps 8 and 11
    'mmdet::_base_/default_runtime.py']

# half of the images is resized, half cropped in between (DETR)
sides = dict(
    type='RandomChoiceResize', keep_ratio=True, scales=[(s, 1333) for s in range(480, 801, 32)])
before_crop = dict(
    type='RandomChoiceResize', keep_ratio=True, scales=[(400, 1333), (500, 1333), (600, 1333)])
crop = dict(
    type='RandomCrop', crop_type='absolute_range', crop_size=(384, 600), allow_negative_crop=True)
train_dataloader = dict(
    batch_size=2,
    dataset=dict(
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
            dict(type='RandomFlip', prob=0.5),
            dict(type='RandomChoice', transforms=[[sides], [before_crop, crop, sides]]),
            dict(type='PackDetInputs')]))

optim_wrapper = dict(
    _delete_=True,
    type='AmpOptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-4, betas=(0.9, 0.999), weight_decay=0.05),
    paramwise_cfg=dict(
        custom_keys={
            'absolute_pos_embed': dict(decay_mult=0.0),
            'relative_position_bias_table': dict(decay_mult=0.0),
            'norm': dict(decay_mult=0.0)}))   # biases of linear layers do decay
