"""Fine-tuning a ViT-S/16 pretrained with iBOT, layer decay 0.75, 200 epochs, batch 1024."""

_base_ = '../../_base_/finetune_mae.py'

test_view = dict(type='CenterView', size=224, resize=256, interpolation='bilinear')
val_dataloader = dict(dataset=dict(pipeline=[dict(type='LoadImage'), test_view]))
test_dataloader = val_dataloader
model = dict(
    pool='cls', backbone=dict(arch='small', last_norm=True), head=dict(norm=False))

rules = [
    dict(layer_decay=0.75),
    dict(ndim=1, decay_mult=0.0),
    dict(match='cls_token|pos_embed', decay_mult=0.0)]
optim_wrapper = dict(optimizer=dict(lr=4e-3), paramwise_cfg=dict(rules=rules))   # authors sweep it
param_scheduler = [
    dict(
        type='ScheduleParam', param_name='lr', final=1e-6, warmup=20,
        warmup_reaches=True)]
train_cfg = dict(max_epochs=200)
