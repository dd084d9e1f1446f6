"""Linear probing on ImageNet: a frozen backbone, one layer, 90 epochs, accuracy every epoch."""

_base_ = './labelled.py'

data_root = 'data/imagenet/'
train_dataloader = dict(
    batch_size=128,
    dataset=dict(
        type='ImageFolder',
        pipeline=[dict(type='LoadImage'), dict(type='TrainView', size=224)]))
val_dataloader = dict(
    batch_size=128,
    dataset=dict(
        type='ImageFolder',
        pipeline=[
            dict(type='LoadImage'),
            dict(type='CenterView', size=224, resize=256, interpolation='bilinear')]))
test_dataloader = val_dataloader
val_evaluator = dict(type='Accuracy', topk=(1, 5))
test_evaluator = val_evaluator

model = dict(
    type='Classifier',
    frozen=True,
    head=dict(type='LinearHead', num_classes=1000))

optim_wrapper = dict(
    optimizer=dict(type='SGD', momentum=0.9, weight_decay=0.0))
param_scheduler = [dict(type='CurveScheduler', param_name='lr', final=0.0, hold_epochs=True)]
auto_scale_lr = dict(base_batch_size=1024)
train_cfg = dict(max_epochs=90)
