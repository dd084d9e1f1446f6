"""Textured shapes and background, 128 px (tools/dataset_tools/make_shapes.py OUT --scenes N)."""

data_root = 'data/shapes/scenes/'
classes = ('background', 'disc', 'square', 'triangle', 'star', 'cross', 'ring', 'crescent',
           'hexagon')
palette = [[60, 60, 60], [230, 25, 75], [60, 180, 75], [255, 225, 25], [0, 130, 200],
           [245, 130, 48], [145, 30, 180], [70, 240, 240], [240, 50, 230]]
data = dict(
    type='BaseSegDataset', data_root=data_root, metainfo=dict(classes=classes, palette=palette),
    img_suffix='.png', seg_map_suffix='.png')
load = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')]
train_dataloader = dict(
    batch_size=8, num_workers=1, persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        data, data_prefix=dict(img_path='images/train', seg_map_path='labels/train'),
        pipeline=[*load, dict(type='RandomFlip', prob=0.5), dict(type='PackSegInputs')]))
val_dataloader = dict(
    batch_size=1, num_workers=1, persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        data, data_prefix=dict(img_path='images/val', seg_map_path='labels/val'),
        pipeline=[*load, dict(type='PackSegInputs')]))
test_dataloader = val_dataloader
val_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'])
test_evaluator = val_evaluator
