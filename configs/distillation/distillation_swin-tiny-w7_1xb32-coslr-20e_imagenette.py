"""Distillation of DINOv3's ViT-B/16 into Swin-T, Imagenette, for two cores.

20 epochs of 32 images of 112 pixels at full precision.
"""

_base_ = './distillation_swin-tiny-w7_8xb128-amp-coslr-100e_in1k.py'

data_root = 'data/imagenette128/'
view = dict(
    type='RandomView', size=112, scale=(0.2, 1.0), jitter=(0.4, 0.4, 0.2, 0.1), blur=0.5)
train_dataloader = dict(
    batch_size=32, num_workers=2,
    dataset=dict(pipeline=[dict(type='LoadImage'), dict(type='MultiView', views=[view])]))
val_dataloader = dict(
    num_workers=2,
    dataset=dict(
        per_class=48,
        pipeline=[dict(type='LoadImage'), dict(type='CenterView', size=112, resize=128)]))
val_cfg = dict(bank=dict(per_class=64))

optim_wrapper = dict(amp=None, optimizer=dict(lr=5e-4))
auto_scale_lr = dict(base_batch_size=32)
param_scheduler = [dict(type='ScheduleParam', param_name='lr', final=1e-6, warmup=1)]
train_cfg = dict(max_epochs=20, val_interval=5, val_at_start=True)
