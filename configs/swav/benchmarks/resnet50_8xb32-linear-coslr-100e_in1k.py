"""Linear probe of SwAV's ResNet-50, 100 epochs, batch 256."""

_base_ = '../../_base_/linear.py'

train_dataloader = dict(batch_size=32)
model = dict(
    backbone=dict(type='ResNet', depth=50),
    data_preprocessor=dict(type='ViewPreprocessor', std=(0.228, 0.224, 0.225)))
optim_wrapper = dict(optimizer=dict(lr=0.3, weight_decay=1e-6))
auto_scale_lr = dict(base_batch_size=256)
train_cfg = dict(max_epochs=100)
