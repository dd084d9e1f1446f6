"""Pretraining on ImageNet's folders (train/, val/) with a kNN monitor every 10 epochs."""

data_root = 'data/imagenet/'
train_dataloader = dict(
    num_workers=8,
    persistent_workers=True,
    pin_memory=True,
    drop_last=True,
    sampler=dict(type='EpochSampler', shuffle=True),
    dataset=dict(type='ImageDataset', split='train', pipeline=[]))
train_cfg = dict(type='EpochLoop', val_interval=10)

val_dataloader = dict(
    batch_size=128,
    num_workers=4,
    pin_memory=True,
    sampler=dict(type='EpochSampler', shuffle=False),
    dataset=dict(
        type='ImageDataset',
        split='val',
        per_class=10,
        pipeline=[dict(type='LoadImage'), dict(type='CenterView', size=224)]))
val_cfg = dict(type='KNNLoop', k=(20, ), bank=dict(split='train', per_class=50))

optim_wrapper = dict(type='OptimWrapper', constructor='ParamGroupConstructor')
