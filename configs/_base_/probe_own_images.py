"""Classifier over a frozen network on your own images: what `mmssl probe` begins with."""

_base_ = './probe.py'

data_root = 'data/images/'
test_dataloader = dict(
    num_workers=2,
    dataset=dict(
        split='',
        pipeline=[
            dict(type='LoadImage'),
            dict(type='CenterView', size=224, resize=224, interpolation='bicubic')]))
test_cfg = dict(bank=dict(split=''), classifier='classifier.pth')
