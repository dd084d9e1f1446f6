"""Fine-tuning a ResNet-50 pretrained with SwAV on 10 % of ImageNet's labels, head rate 0.2."""

_base_ = './resnet50_8xb32-steplr-20e_in1k-1percent.py'

protocol = '10% labels'
train_dataloader = dict(dataset=dict(subset='10percent.txt'))
optim_wrapper = dict(
    optimizer=dict(lr=0.01), paramwise_cfg=dict(rules=[dict(match='^head', lr_mult=20.0)]))
