"""Linear probe on stored features: minutes instead of the 90 epochs of `linear.py`.

The network is that of ``pretrained``, when this is a published model or a training file of ours;
for other files add ``model.backbone``.
"""

protocol = 'cached probe'
pretrained = None   # --cfg-options pretrained=PATH|URL|NAME
data_root = 'data/imagenet/'
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
    type='ProbeLoop',
    feature=dict(blocks=1, pool='auto'),
    probe=dict(
        rates=(0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0),
        decays=(0.0, 1e-5, 1e-4, 1e-3, 1e-2),
        epochs=60,
        batch=512,
        held_out=0.1),   # share of the training images that chooses rate and decay
    bank=dict(split='train'))
model = dict(type='Encoder')
