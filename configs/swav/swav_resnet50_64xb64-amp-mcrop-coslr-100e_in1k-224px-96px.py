"""SwAV, ResNet-50, 2x224 + 6x96 crops, 100 epochs, batch 4096 (Caron et al., NeurIPS 2020)."""

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
    head=dict(type='SwAVHead', dim=128, prototypes=3000, temperature=0.1, epsilon=0.05))

rules = [dict(match='prototypes', frozen_iters=313)]     # one epoch; everything decays
optim_wrapper = dict(
    amp='float16', optimizer=dict(type='LARC', lr=4.8, momentum=0.9, weight_decay=1e-6),
    paramwise_cfg=dict(rules=rules))
auto_scale_lr = dict(base_batch_size=4096)
param_scheduler = [dict(
    type='ScheduleParam', param_name='lr', final=0.0048, warmup=10, warmup_start=0.3,
    warmup_reaches=True, scale=('final', 'warmup_start'))]
train_cfg = dict(max_epochs=100)
sync_bn = dict(group_size=8)  # one machine each
