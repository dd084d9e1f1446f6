"""kNN: the nearest training images vote on each test image; nothing is trained.

The network is that of ``pretrained``, when this is a published model or a training file of ours;
for other files add ``model.backbone``. Configs add ``data_root``.
"""

protocol = 'kNN'
pretrained = None   # --cfg-options pretrained=PATH|URL|NAME
test_dataloader = dict(
    batch_size=128,
    num_workers=8,
    pin_memory=True,
    sampler=dict(type='EpochSampler', shuffle=False),
    dataset=dict(
        type='ImageDataset',
        split='val',
        pipeline=[
            dict(type='LoadImage'),
            dict(type='CenterView', size=224, resize=256, interpolation='bicubic')]))
test_cfg = dict(
    type='KNNLoop',
    mode='test',
    k=(20, 10, 100, 200),
    temperature=0.07,
    feature=dict(blocks=1, pool='auto'),
    bank=dict(split='train'))
model = dict(type='Encoder')
