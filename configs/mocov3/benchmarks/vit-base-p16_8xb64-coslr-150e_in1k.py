"""Fine-tuning a ViT-B/16 pretrained with MoCo v3, 150 epochs, batch 512: OpenMMLab's recipe.

Beside DeiT's, the config with `amp`: no image is repeated, gradients are clipped, the rate moves
with every iteration, full precision, and the average of the weights is measured.
"""

_base_ = '../../_base_/finetune_deit.py'

train_dataloader = dict(sampler=dict(_delete_=True, type='EpochSampler', shuffle=True))
model = dict(backbone=dict(type='VisionTransformer', arch='base', drop_path_rate=0.1))
optim_wrapper = dict(amp=None, clip_grad=dict(max_norm=5.0))
param_scheduler = [
    dict(type='ScheduleParam', param_name='lr', final=1e-5, warmup=5, warmup_start=5e-7)]
train_cfg = dict(max_epochs=150)
default_hooks = dict(ema=dict(type='EMAHook'))
