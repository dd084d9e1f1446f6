"""SwAV, ResNet-50 of four times the width, 2x224 + 4x96 crops, 400 epochs, batch 2560."""

_base_ = './swav_resnet50_64xb64-amp-mcrop-coslr-100e_in1k-224px-96px.py'

crop = dict(type='RandomView', jitter=(0.8, 0.8, 0.8, 0.2), blur=0.5)
views = [
    dict(crop, size=224, scale=(0.08, 1.0), repeat=2),
    dict(crop, size=96, scale=(0.08, 0.14), repeat=4)]
train_dataloader = dict(
    batch_size=40,
    dataset=dict(pipeline=[dict(type='LoadImage'), dict(type='MultiView', views=views)]))

model = dict(
    backbone=dict(width=256),
    neck=dict(dims=(8192, 8192, 128)),
    head=dict(queue_length=2560, queue_start=0))
auto_scale_lr = dict(base_batch_size=2560)     # the rate is the one of batch 4096
train_cfg = dict(max_epochs=400)
