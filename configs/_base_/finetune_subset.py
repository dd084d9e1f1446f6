"""Fine-tuning with few of ImageNet's labels as SwAV does: a list of images, 20 epochs."""

_base_ = './linear_imagenet.py'

protocol = '1% labels'
train_dataloader = dict(batch_size=32, dataset=dict(subset='1percent.txt'))   # below data_root
model = dict(frozen=False)
param_scheduler = [
    dict(
        type='CurveScheduler', param_name='lr', shape='step', milestones=(12, 16), gamma=0.2,
        hold_epochs=True)]
auto_scale_lr = dict(base_batch_size=256)
train_cfg = dict(max_epochs=20)
sync_bn = 'torch'
