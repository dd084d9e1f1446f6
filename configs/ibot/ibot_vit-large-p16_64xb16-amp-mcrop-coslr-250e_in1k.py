"""iBOT, ViT-L/16, block masks, 250 epochs, batch 1024.

[3rd] are the values of a public project that continues the official files, whose ViT-S and ViT-B
columns agree with the authors' README; what is inherited from ViT-B and epochs, GPUs and images
are [memory], not read. `args` in a published file settles them: show_settings.py shows it.
"""

_base_ = './ibot_vit-base-p16_32xb32-amp-mcrop-coslr-400e_in1k.py'

crop = dict(type='RandomView', jitter=(0.4, 0.4, 0.2, 0.1), interpolation='bicubic')
big, small = dict(crop, size=224, scale=(0.25, 1.0)), dict(crop, size=96, scale=(0.05, 0.25))
views = [dict(big, blur=1.0), dict(big, blur=0.1, solarize=0.2), dict(small, blur=0.5, repeat=10)]
mask = dict(type='PatchMask', ratio=(0.0, 0.3), var=(0.0, 0.2))     # half of the views stay whole
multi = dict(type='MultiView', views=views, mask=mask)
train_dataloader = dict(     # 64 GPUs as in the README, 16 images each [memory]
    batch_size=16, dataset=dict(pipeline=[dict(type='LoadImage'), multi]))
model = dict(
    backbone=dict(arch='large', drop_path_rate=0.2),     # [3rd]
    neck=dict(dims=(1024, 2048, 2048, 256)))
optim_wrapper = dict(optimizer=dict(lr=2e-3))     # 5e-4 for each 256 images [3rd]
param_scheduler = [     # both ends [3rd]
    dict(type='ScheduleParam', param_name='lr', final=2e-4, warmup=10, warmup_reaches=True),
    dict(type='ScheduleParam', param_name='weight_decay', final=0.48)]
train_cfg = dict(max_epochs=250)     # [memory]
