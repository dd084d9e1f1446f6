"""SwAV, ResNet-50, two crops of 224 px only, 400 epochs, batch 4096."""

_base_ = './swav_resnet50_64xb64-amp-mcrop-coslr-100e_in1k-224px-96px.py'

views = [dict(
    type='RandomView', size=224, scale=(0.08, 1.0), jitter=(0.8, 0.8, 0.8, 0.2), blur=0.5,
    repeat=2)]
train_dataloader = dict(
    dataset=dict(pipeline=[dict(type='LoadImage'), dict(type='MultiView', views=views)]))
train_cfg = dict(max_epochs=400)
