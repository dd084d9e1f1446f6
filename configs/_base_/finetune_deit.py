"""Fine-tuning a ViT on ImageNet as DeiT trains: repeated augmentation, mixing, an average."""

protocol = 'fine-tuning'
pretrained = None   # --cfg-options pretrained=PATH|URL|NAME
data_root = 'data/imagenet/'
loader = dict(batch_size=64, num_workers=8, persistent_workers=True, pin_memory=True)
train_dataloader = dict(
    loader,
    drop_last=True,
    sampler=dict(type='RepeatAugSampler', repeats=3),
    dataset=dict(
        type='ImageDataset',
        split='train',
        pipeline=[
            dict(type='LoadImage'),
            dict(type='FinetuneView', size=224, augment='rand-m9-mstd0.5-inc1', erase=0.25)]))
val_dataloader = dict(
    loader,
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
    head=dict(type='LinearHead', num_classes=1000, init_std=0.02),
    mixup=dict(mixup_alpha=0.8, cutmix_alpha=1.0, label_smoothing=0.1))

rules = [dict(ndim=1, decay_mult=0.0), dict(match='cls_token|pos_embed', decay_mult=0.0)]
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='ParamGroupConstructor',
    amp='float16',
    optimizer=dict(type='AdamW', lr=5e-4, weight_decay=0.05, eps=1e-8, betas=(0.9, 0.999)),
    paramwise_cfg=dict(rules=rules))
param_scheduler = [dict(     # set once an epoch, for the epoch after; the cosine counts the warm-up
    type='ScheduleParam', param_name='lr', final=1e-5, warmup=5, warmup_start=1e-6,
    after_warmup=False, hold_epochs=True, lag=1)]
auto_scale_lr = dict(base_batch_size=512)
train_cfg = dict(type='EpochLoop', max_epochs=100)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
default_hooks = dict(ema=dict(type='AverageHook', momentum=4e-5, priority='ABOVE_NORMAL'))
