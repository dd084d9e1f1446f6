"""Transfer of MoCo v3's ViT-B/16 to CIFAR-100 at 224 px: CIFAR-10's settings, mixup 0.5."""

_base_ = './vit-base-p16_8xb128-amp-coslr-100e_cifar10.py'

protocol = 'CIFAR-100 fine-tuning'
source = dict(name='CIFAR100')
train_dataloader = dict(dataset=dict(source=source))
val_dataloader = dict(dataset=dict(source=source))
test_dataloader = val_dataloader
model = dict(head=dict(num_classes=100), mixup=dict(mixup_alpha=0.5))
