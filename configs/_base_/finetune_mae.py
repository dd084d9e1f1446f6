"""Fine-tuning a ViT on ImageNet as MAE does: layer decay, the mean of the patch tokens."""

_base_ = './finetune_imagenet.py'

train_dataloader = dict(batch_size=128)
model = dict(
    pool='mean',
    backbone=dict(type='VisionTransformer', drop_path_rate=0.1, last_norm=False),
    head=dict(norm='layer', init_std=2e-5))

rules = [
    dict(layer_decay=0.65),
    dict(ndim=1, decay_mult=0.0),
    dict(match='cls_token|pos_embed', decay_mult=0.0)]
optim_wrapper = dict(
    optimizer=dict(lr=2e-3),   # 5e-4 for 256 images
    paramwise_cfg=dict(rules=rules),
    clip_grad=None)
param_scheduler = [dict(type='CurveScheduler', param_name='lr', final=1e-6, warmup=5)]
auto_scale_lr = dict(base_batch_size=1024)
default_hooks = dict(ema=None)
