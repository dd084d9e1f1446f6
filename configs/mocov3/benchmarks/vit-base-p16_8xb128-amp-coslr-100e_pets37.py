"""Transfer of MoCo v3's ViT-B/16 to Oxford-IIIT Pets (train/ and test/): no CutMix."""

_base_ = './vit-base-p16_8xb128-amp-coslr-100e_cifar10.py'

protocol = 'Pets fine-tuning'
data_root = 'data/pets37/'
train_dataloader = dict(dataset=dict(source=None))
val_dataloader = dict(dataset=dict(source=None))
test_dataloader = val_dataloader
model = dict(
    backbone=dict(drop_path_rate=0.0), head=dict(num_classes=37), mixup=dict(cutmix_alpha=0.0))
