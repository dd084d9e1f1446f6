"""What linear probing, fine-tuning and segmentation share: loaders, loops, kind of optimizer."""

_base_ = './runtime.py'

pretrain = None   # --cfg-options pretrain=PATH|URL|NAME
loader = dict(num_workers=8, persistent_workers=True, pin_memory=True)
train_dataloader = dict(
    loader, drop_last=True, sampler=dict(type='EpochSampler', shuffle=True),
    dataset=dict(split='train'))
val_dataloader = dict(
    loader, sampler=dict(type='EpochSampler', shuffle=False), dataset=dict(split='val'))
test_dataloader = val_dataloader
train_cfg = dict(type='EpochLoop')
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(type='OptimWrapper', constructor='RuleConstructor')
