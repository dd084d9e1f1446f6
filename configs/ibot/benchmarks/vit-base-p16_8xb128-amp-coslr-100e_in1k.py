"""Fine-tuning a ViT-B/16 pretrained with iBOT, layer decay 0.65, 100 epochs, batch 1024."""

_base_ = './vit-small-p16_8xb128-amp-coslr-200e_in1k.py'

model = dict(backbone=dict(arch='base', drop_path_rate=0.2))
rules = [
    dict(layer_decay=0.65),
    dict(ndim=1, decay_mult=0.0),
    dict(match='cls_token|pos_embed', decay_mult=0.0)]
optim_wrapper = dict(paramwise_cfg=dict(rules=rules))
train_cfg = dict(max_epochs=100)
