"""DINO, ResNet-50, 800 epochs, batch 4080, LARS, full precision: the released model.

GPUs and images are the author's word (issue 133); the other settings stand in args.txt, which was
not read, and are those on which three of four launch scripts of others agree [3rd].
"""

_base_ = './dino_resnet50_8xb64-amp-mcrop-coslr-100e_in1k.py'

crop = dict(type='RandomView', jitter=(0.4, 0.4, 0.2, 0.1), interpolation='bicubic')
big, small = dict(crop, size=224, scale=(0.14, 1.0)), dict(crop, size=96, scale=(0.05, 0.14))
views = [dict(big, blur=1.0), dict(big, blur=0.1, solarize=0.2), dict(small, blur=0.5, repeat=6)]
train_dataloader = dict(
    batch_size=51,
    dataset=dict(pipeline=[dict(type='LoadImage'), dict(type='MultiView', views=views)]))
model = dict(
    neck=dict(prototypes=60000, hidden_norm=True),
    head=dict(prototypes=60000),
    teacher_temp=dict(start=0.07, warmup=50))
# norms and biases: plain momentum SGD
rules = [dict(ndim=1, decay_mult=0.0, adapt=False), dict(match='last_layer', frozen_epochs=1)]
optim_wrapper = dict(     # 0.3 for each 256 images
    amp=None, paramwise_cfg=dict(rules=rules), clip_grad=None,
    optimizer=dict(_delete_=True, type='LARS', lr=4.78125, momentum=0.9, weight_decay=1e-6))
auto_scale_lr = dict(base_batch_size=4080)
param_scheduler = [
    dict(type='ScheduleParam', param_name='lr', final=0.0048, warmup=10, warmup_reaches=True)]
train_cfg = dict(max_epochs=800)
