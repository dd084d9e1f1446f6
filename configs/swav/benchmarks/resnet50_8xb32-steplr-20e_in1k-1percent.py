"""Fine-tuning a ResNet-50 pretrained with SwAV on 1 % of ImageNet's labels, head rate 5."""

_base_ = '../../_base_/finetune_labels.py'

model = dict(
    backbone=dict(type='ResNet', depth=50),
    data_preprocessor=dict(type='ViewPreprocessor', std=(0.228, 0.224, 0.225)))
optim_wrapper = dict(
    optimizer=dict(lr=0.02), paramwise_cfg=dict(rules=[dict(match='^head', lr_mult=250.0)]))
