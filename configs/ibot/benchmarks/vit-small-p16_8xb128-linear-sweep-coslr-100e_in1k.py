"""Linear probe of iBOT's ViT-S/16: class tokens of four blocks, 45 rates at once, batch 1024.

The best rate is chosen on the validation images that are reported, as the authors do.
"""

_base_ = '../../_base_/linear.py'

protocol = 'linear sweep: best of 45 rates on the test images'
view = dict(type='CenterView', size=224, resize=256, interpolation='bicubic')
val_dataloader = dict(dataset=dict(pipeline=[dict(type='LoadImage'), view]))
val_evaluator = dict(type='Accuracy', topk=(1, 5))
test_dataloader, test_evaluator = val_dataloader, val_evaluator
model = dict(
    backbone=dict(type='VisionTransformer', arch='small'),
    blocks=4, pool='cls',
    head=dict(type='SweepHead'))
optim_wrapper = dict(optimizer=dict(lr=4.0))     # times each rate: rates are for 256 images
train_cfg = dict(max_epochs=100)
default_hooks = dict(sweep=dict(type='SweepHook'), checkpoint=dict(save_best='sweep/top1_best'))
