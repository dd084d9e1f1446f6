"""Transfer of MoCo v3's ViT-B/16 to CIFAR-100 at 224 px: CIFAR-10's settings, mixup 0.5."""

_base_ = './vit-base-p16_8xb128-amp-coslr-100e_cifar10.py'

protocol = 'CIFAR-100 fine-tuning'
data_root = 'data/cifar-100-python/'
model = dict(head=dict(num_classes=100), mixup=dict(mixup_alpha=0.5))
