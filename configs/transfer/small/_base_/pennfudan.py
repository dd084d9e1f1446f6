"""Penn-Fudan pedestrians as COCO: 120 images train, 50 validate (dataset_tools/penn_fudan.py)."""

data_root = 'data/pennfudan/'
scale = (320, 160)
load = [dict(type='LoadImageFromFile'),
        dict(type='LoadAnnotations', with_bbox=True, with_mask=True)]
resize = dict(type='Resize', scale=scale, keep_ratio=True)
data = dict(
    type='CocoDataset', data_root=data_root, metainfo=dict(classes=('person', )),
    data_prefix=dict(img='images/'))
train_dataloader = dict(
    batch_size=2, num_workers=1, persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    batch_sampler=dict(type='AspectRatioBatchSampler'),
    dataset=dict(
        data, ann_file='train.json', filter_cfg=dict(filter_empty_gt=True),
        pipeline=[*load, resize, dict(type='RandomFlip', prob=0.5), dict(type='PackDetInputs')]))
val_dataloader = dict(
    batch_size=1, num_workers=1, persistent_workers=True, drop_last=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        data, ann_file='val.json', test_mode=True,
        pipeline=[load[0], resize, load[1], dict(
            type='PackDetInputs',
            meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor'))]))
test_dataloader = val_dataloader
val_evaluator = dict(
    type='CocoMetric', ann_file=data_root + 'val.json', metric=['bbox', 'segm'])
test_evaluator = val_evaluator
