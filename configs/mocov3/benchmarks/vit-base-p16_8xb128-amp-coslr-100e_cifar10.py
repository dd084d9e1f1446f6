"""Transfer of MoCo v3's ViT-B/16 to CIFAR-10 at 224 px: its README's settings for DeiT's code.

Rate 3e-4 for 512 images, 3 epochs of warm-up, no repeated augmentation, no erasing.
"""

_base_ = '../../_base_/finetune_deit.py'

protocol = 'CIFAR-10 fine-tuning'
data_root = 'data/'
view = dict(type='FinetuneView', size=224, augment='rand-m9-mstd0.5-inc1')
source = dict(type='TorchvisionSource', name='CIFAR10')
train_dataloader = dict(
    batch_size=128,
    sampler=dict(_delete_=True, type='EpochSampler', shuffle=True),
    dataset=dict(source=source, pipeline=[dict(type='LoadImage'), view]))
val_dataloader = dict(batch_size=128, dataset=dict(split='test', source=source))
test_dataloader = val_dataloader
model = dict(
    backbone=dict(type='VisionTransformer', arch='base', drop_path_rate=0.1),
    head=dict(num_classes=10))
optim_wrapper = dict(optimizer=dict(lr=6e-4, weight_decay=0.1))
param_scheduler = [dict(
    type='ScheduleParam', param_name='lr', final=1e-5, warmup=3, warmup_start=1e-6,
    after_warmup=False, hold_epochs=True, lag=1)]
auto_scale_lr = dict(base_batch_size=1024)
train_cfg = dict(max_epochs=100)
