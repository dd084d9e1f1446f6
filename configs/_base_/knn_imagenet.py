"""kNN on ImageNet: the training images vote on the validation images, nothing is trained."""

_base_ = './runtime.py'

protocol = 'kNN'
pretrain = None   # --cfg-options pretrain=PATH|URL|NAME
data_root = 'data/imagenet/'
test_dataloader = dict(
    batch_size=128,
    num_workers=8,
    pin_memory=True,
    sampler=dict(type='EpochSampler', shuffle=False),
    dataset=dict(
        type='ImageFolder',
        split='val',
        pipeline=[
            dict(type='LoadImage'),
            dict(type='CenterView', size=224, resize=256, interpolation='bicubic')]))
test_cfg = dict(
    type='KNNTestLoop',
    k=(20, 10, 100, 200),
    temperature=0.07,
    feature=dict(blocks=1, pool='auto'),
    bank=dict(split='train'))
model = dict(type='Encoder')
