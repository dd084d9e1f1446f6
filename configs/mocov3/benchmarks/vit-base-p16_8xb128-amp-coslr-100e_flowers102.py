"""Transfer of MoCo v3's ViT-B/16 to Oxford Flowers (train/ and test/): erasing, no mixing."""

_base_ = './vit-base-p16_8xb128-amp-coslr-100e_cifar10.py'

protocol = 'Flowers fine-tuning'
data_root = 'data/flowers102/'
view = dict(type='FinetuneView', size=224, augment='rand-m9-mstd0.5-inc1', erase=0.25)
train_dataloader = dict(
    dataset=dict(source=None, pipeline=[dict(type='LoadImage'), view]))
val_dataloader = dict(dataset=dict(source=None))
test_dataloader = val_dataloader
model = dict(head=dict(num_classes=102, label_smoothing=0.1), mixup=None)
optim_wrapper = dict(optimizer=dict(weight_decay=0.3))
