"""Linear probe of MoCo v2's ResNet-50, 100 epochs, batch 256, rate 30 for the whole batch."""

_base_ = '../../_base_/linear.py'

train_dataloader = dict(batch_size=32)
model = dict(backbone=dict(type='ResNet', depth=50))
optim_wrapper = dict(optimizer=dict(lr=30.0))
param_scheduler = [dict(
    type='ScheduleParam', param_name='lr', shape='step', milestones=(60, 80), hold_epochs=True)]
auto_scale_lr = dict(base_batch_size=256)
train_cfg = dict(max_epochs=100)
