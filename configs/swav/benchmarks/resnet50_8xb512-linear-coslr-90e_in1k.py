"""Linear probe of SwAV's ResNet-50 in mmpretrain's form: LARS, 90 epochs, batch 4096."""

_base_ = '../../_base_/linear.py'

train_dataloader = dict(batch_size=512)
model = dict(backbone=dict(type='ResNet', depth=50))
optim_wrapper = dict(optimizer=dict(type='LARS', lr=1.6))
auto_scale_lr = dict(base_batch_size=4096)
