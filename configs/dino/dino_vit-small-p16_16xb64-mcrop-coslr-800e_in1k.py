"""DINO, ViT-S/16, 800 epochs, batch 1024, full precision: the released model.

The settings stand in its args.txt, which was not read: all beyond the official README are those
of other people's launch scripts [3rd]. Let the file decide before a long run: show_settings.py.
"""

_base_ = './dino_vit-small-p16_8xb64-amp-mcrop-coslr-100e_in1k.py'

crop = dict(type='RandomView', jitter=(0.4, 0.4, 0.2, 0.1), interpolation='bicubic')
big, small = dict(crop, size=224, scale=(0.25, 1.0)), dict(crop, size=96, scale=(0.05, 0.25))
views = [dict(big, blur=1.0), dict(big, blur=0.1, solarize=0.2), dict(small, blur=0.5, repeat=10)]
train_dataloader = dict(
    dataset=dict(pipeline=[dict(type='LoadImage'), dict(type='MultiView', views=views)]))
model = dict(neck=dict(train_scale=True), teacher_temp=dict(start=0.07, warmup=30))
optim_wrapper = dict(amp=None, optimizer=dict(lr=2e-3), clip_grad=None)
auto_scale_lr = dict(base_batch_size=1024)
param_scheduler = [
    dict(type='ScheduleParam', param_name='lr', final=1e-5, warmup=10, warmup_reaches=True),
    dict(type='ScheduleParam', param_name='weight_decay', final=0.4)]
train_cfg = dict(max_epochs=800)
