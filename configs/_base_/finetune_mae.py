"""Fine-tuning a ViT on ImageNet as MAE does: layer decay, the mean of the patch tokens."""

protocol = 'fine-tuning'
pretrained = None   # --cfg-options pretrained=PATH|URL|NAME
data_root = 'data/imagenet/'
loader = dict(num_workers=8, persistent_workers=True, pin_memory=True)
train_dataloader = dict(
    loader,
    batch_size=128,
    drop_last=True,
    sampler=dict(type='EpochSampler', shuffle=True),
    dataset=dict(
        type='ImageDataset',
        split='train',
        pipeline=[
            dict(type='LoadImage'),
            dict(type='FinetuneView', size=224, augment='rand-m9-mstd0.5-inc1', erase=0.25)]))
val_dataloader = dict(
    loader,
    batch_size=64,
    sampler=dict(type='EpochSampler', shuffle=False),
    dataset=dict(
        type='ImageDataset',
        split='val',
        pipeline=[
            dict(type='LoadImage'),
            dict(type='CenterView', size=224, resize=256, interpolation='bicubic')]))
test_dataloader = val_dataloader
val_evaluator = dict(type='Accuracy', topk=(1, 5))
test_evaluator = val_evaluator

model = dict(
    type='Classifier',
    pool='mean',
    backbone=dict(type='VisionTransformer', drop_path_rate=0.1, last_norm=False),
    head=dict(type='LinearHead', norm='layer', num_classes=1000, init_std=2e-5),
    mixup=dict(mixup_alpha=0.8, cutmix_alpha=1.0, label_smoothing=0.1))

rules = [
    dict(layer_decay=0.65),
    dict(ndim=1, decay_mult=0.0),
    dict(match='cls_token|pos_embed', decay_mult=0.0)]
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='ParamGroupConstructor',
    amp='float16',
    optimizer=dict(     # 5e-4 for each 256 images
        type='AdamW', lr=2e-3, weight_decay=0.05, eps=1e-8, betas=(0.9, 0.999)),
    paramwise_cfg=dict(rules=rules),
    clip_grad=None)
param_scheduler = [dict(type='ScheduleParam', param_name='lr', final=1e-6, warmup=5)]
auto_scale_lr = dict(base_batch_size=1024)
train_cfg = dict(type='EpochLoop', max_epochs=100)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
default_hooks = dict(ema=None)   # weights are not averaged
