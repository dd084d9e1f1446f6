"""Linear probe on stored features of CIFAR-10's folders (train/, test/) of 32-px images."""

_base_ = './probe.py'

data_root = 'data/cifar10/'
test_dataloader = dict(
    batch_size=500,
    dataset=dict(
        split='test',
        pipeline=[dict(type='LoadImage'), dict(type='CenterView', size=32, resize=32)]))
