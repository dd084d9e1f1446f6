"""iBOT, ViT-B/16, block masks, 400 epochs, batch 1024 (Zhou et al., ICLR 2022).

Settings beyond the official README and defaults are marked: [3rd] other people's copies of the
recipe, [sere] SERE's published ViT-B command, [memory] recalled, not read again.
"""

_base_ = '../_base_/pretrain.py'

crop = dict(type='RandomView', jitter=(0.4, 0.4, 0.2, 0.1), interpolation='bicubic')
big = dict(crop, size=224, scale=(0.32, 1.0))     # [3rd, sere]
small = dict(crop, size=96, scale=(0.05, 0.32))     # [3rd, sere]
views = [dict(big, blur=1.0), dict(big, blur=0.1, solarize=0.2), dict(small, blur=0.5, repeat=10)]
mask = dict(type='PatchMask', ratio=(0.0, 0.3), var=(0.0, 0.2))     # half of the views stay whole
multi = dict(type='MultiView', views=views, mask=mask)
train_dataloader = dict(     # 32 x 32 [memory]; the README counts 24 GPUs
    batch_size=32, dataset=dict(pipeline=[dict(type='LoadImage'), multi]))
model = dict(
    type='iBOT',
    backbone=dict(type='VisionTransformer', arch='base', drop_path_rate=0.1),
    neck=dict(     # frozen scale [3rd]
        type='DINONeck', dims=(768, 2048, 2048, 256), prototypes=8192, shared=True,
        train_scale=False),
    head=dict(type='DistillationHead', prototypes=8192, student_temp=0.1),
    teacher_temp=dict(     # 0.04 to 0.07 [3rd] in 50 epochs [sere]
        start=0.07, shape='constant', warmup=50, warmup_start=0.04, warmup_reaches=True,
        hold_epochs=True),
    momentum=dict(start=0.996, final=1.0))
rules = [dict(ndim=1, decay_mult=0.0), dict(match='last_layer', frozen_epochs=3)]     # 3 [3rd]
optim_wrapper = dict(     # clip 0.3 [sere, memory], lr 7.5e-4 per 256 images [memory, sere]
    amp='float16', paramwise_cfg=dict(rules=rules), clip_grad=dict(max_norm=0.3, each=True),
    optimizer=dict(type='AdamW', lr=3e-3, weight_decay=0.04))
auto_scale_lr = dict(base_batch_size=1024)
param_scheduler = [     # down to 2e-6 [memory, sere]
    dict(type='ScheduleParam', param_name='lr', final=2e-6, warmup=10, warmup_reaches=True),
    dict(type='ScheduleParam', param_name='weight_decay', final=0.4)]
train_cfg = dict(max_epochs=400)     # [memory, 3rd]
