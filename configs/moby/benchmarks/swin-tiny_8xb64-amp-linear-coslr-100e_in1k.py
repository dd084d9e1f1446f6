"""Linear probe of MoBY's Swin-T, 100 epochs, batch 512: smoothed labels, drop path in training.

The rate is 1.0 for 512 images, whatever the batch.
"""

_base_ = '../../_base_/linear.py'

train_dataloader = dict(batch_size=64, drop_last=True)
model = dict(
    backbone_train_mode=True,     # the official probe keeps the frozen network in train mode
    backbone=dict(type='SwinTransformer', arch='tiny', drop_path_rate=0.2),
    head=dict(init_std=0.02, label_smoothing=0.1))
optim_wrapper = dict(
    amp='float16', optimizer=dict(lr=1.0, nesterov=True), clip_grad=dict(max_norm=5.0))
param_scheduler = [dict(
    type='ScheduleParam', param_name='lr', final=5e-6, warmup=5, warmup_start=5e-7,
    after_warmup=False, lag=1, scale=('final', 'warmup_start'))]
auto_scale_lr = dict(base_batch_size=512)
train_cfg = dict(max_epochs=100)
