"""SwAV, ResNet-50, 2x224 + 6x96 crops, 200 epochs, batch 256 with a queue."""

_base_ = '../_base_/pretrain.py'

crop = dict(type='RandomView', jitter=(0.8, 0.8, 0.8, 0.2), blur=0.5)
views = [
    dict(crop, size=224, scale=(0.14, 1.0), repeat=2),
    dict(crop, size=96, scale=(0.05, 0.14), repeat=6)]
train_dataloader = dict(
    batch_size=64,
    dataset=dict(pipeline=[dict(type='LoadImage'), dict(type='MultiView', views=views)]))

model = dict(
    type='SwAV',
    data_preprocessor=dict(type='ViewPreprocessor', std=(0.228, 0.224, 0.225)),    # red: not 0.229
    backbone=dict(type='ResNet', depth=50),
    neck=dict(type='MLP', dims=(2048, 2048, 128), bias=True),
    head=dict(
        type='SwAVHead', dim=128, prototypes=3000, temperature=0.1, epsilon=0.05,
        queue_length=3840, queue_start=15))

rules = [dict(match='prototypes', frozen_iters=5005)]     # one epoch; everything decays
optim_wrapper = dict(
    amp='float16', optimizer=dict(type='LARC', lr=0.6, momentum=0.9, weight_decay=1e-6),
    paramwise_cfg=dict(rules=rules))
auto_scale_lr = dict(base_batch_size=256)
param_scheduler = [
    dict(type='ScheduleParam', param_name='lr', final=0.0006, scale=('final', ))]
train_cfg = dict(max_epochs=200)
sync_bn = 'torch'
