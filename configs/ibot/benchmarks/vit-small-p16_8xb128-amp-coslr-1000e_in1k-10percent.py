"""Fine-tuning a ViT-S/16 pretrained with iBOT on 10 % of ImageNet's labels, 1000 epochs."""

_base_ = './vit-small-p16_8xb128-amp-coslr-1000e_in1k-1percent.py'

protocol = '10% labels'
train_dataloader = dict(dataset=dict(subset='10percent.txt'))
