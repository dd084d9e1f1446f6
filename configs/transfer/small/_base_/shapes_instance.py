"""Textured shapes as COCO, 128 px (tools/dataset_tools/make_shapes.py OUT --scenes N)."""

data_root = 'data/shapes/scenes/'
scale = (128, 128)
load = [dict(type='LoadImageFromFile'),
        dict(type='LoadAnnotations', with_bbox=True, with_mask=True)]
resize = dict(type='Resize', scale=scale, keep_ratio=True)
data = dict(
    type='CocoDataset', data_root=data_root, metainfo=dict(classes=(
        'disc', 'square', 'triangle', 'star', 'cross', 'ring', 'crescent', 'hexagon')))
train_dataloader = dict(
    batch_size=4, num_workers=1, persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    batch_sampler=dict(type='AspectRatioBatchSampler'),
    dataset=dict(
        data, ann_file='annotations/instances_train.json', data_prefix=dict(img='images/train/'),
        filter_cfg=dict(filter_empty_gt=True),
        pipeline=[*load, resize, dict(type='RandomFlip', prob=0.5), dict(type='PackDetInputs')]))
val_dataloader = dict(
    batch_size=1, num_workers=1, persistent_workers=True, drop_last=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        data, ann_file='annotations/instances_val.json', data_prefix=dict(img='images/val/'),
        test_mode=True,
        pipeline=[load[0], resize, load[1], dict(
            type='PackDetInputs',
            meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor'))]))
test_dataloader = val_dataloader
val_evaluator = dict(
    type='CocoMetric', metric=['bbox', 'segm'],
    ann_file=data_root + 'annotations/instances_val.json')
test_evaluator = val_evaluator
