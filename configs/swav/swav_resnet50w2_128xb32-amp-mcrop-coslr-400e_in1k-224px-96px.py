"""SwAV, ResNet-50 of twice the width, 2x224 + 4x96 crops, 400 epochs, batch 4096."""

_base_ = './swav_resnet50_64xb64-amp-mcrop-coslr-100e_in1k-224px-96px.py'

crop = dict(type='RandomView', jitter=(0.8, 0.8, 0.8, 0.2), blur=0.5)
views = [
    dict(crop, size=224, scale=(0.14, 1.0), repeat=2),
    dict(crop, size=96, scale=(0.05, 0.14), repeat=4)]
train_dataloader = dict(
    batch_size=32,
    dataset=dict(pipeline=[dict(type='LoadImage'), dict(type='MultiView', views=views)]))

model = dict(backbone=dict(width=128), neck=dict(dims=(4096, 8192, 128)))
train_cfg = dict(max_epochs=400)
