"""CamVid, 11 classes at 480x360: 367 train, 101 val, 233 test (dataset_tools/camvid.py)."""

data_root = 'data/camvid/'
crop_size = (192, 192)
classes = ('sky', 'building', 'pole', 'road', 'pavement', 'tree', 'sign', 'fence', 'car',
           'pedestrian', 'bicyclist')
palette = [[128, 128, 128], [128, 0, 0], [192, 192, 128], [128, 64, 128], [60, 40, 222],
           [128, 128, 0], [192, 128, 128], [64, 64, 128], [64, 0, 128], [64, 64, 0], [0, 128, 192]]
data = dict(
    type='BaseSegDataset', data_root=data_root, metainfo=dict(classes=classes, palette=palette),
    img_suffix='.png', seg_map_suffix='.png')
load = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')]
resize = dict(type='RandomResize', scale=(480, 360), ratio_range=(0.5, 1.5), keep_ratio=True)
train_dataloader = dict(
    batch_size=8, num_workers=1, persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        data, data_prefix=dict(img_path='images/train', seg_map_path='labels/train'),
        pipeline=[*load, resize, dict(type='RandomCrop', crop_size=crop_size),
                  dict(type='RandomFlip', prob=0.5), dict(type='PackSegInputs')]))
val_dataloader = dict(
    batch_size=1, num_workers=1, persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        data, data_prefix=dict(img_path='images/test', seg_map_path='labels/test'),
        pipeline=[*load, dict(type='PackSegInputs')]))
test_dataloader = val_dataloader
val_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'])
test_evaluator = val_evaluator
