"""Pretraining on CIFAR-10's folders (train/, test/) of 32-px images."""

_base_ = './pretrain.py'

data_root = 'data/cifar10/'
val_dataloader = dict(
    batch_size=500,
    dataset=dict(
        split='test',
        per_class=None,
        pipeline=[dict(type='LoadImage'), dict(type='CenterView', size=32, resize=32)]))
val_cfg = dict(k=(200, 20), temperature=0.1, bank=dict(per_class=None))
