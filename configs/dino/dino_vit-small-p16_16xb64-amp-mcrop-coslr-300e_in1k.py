"""DINO, ViT-S/16, 300 epochs, batch 1024: the README's boosted run (temperature, free scales)."""

_base_ = './dino_vit-small-p16_8xb64-amp-mcrop-coslr-100e_in1k.py'

model = dict(neck=dict(train_scale=True), teacher_temp=dict(start=0.07, warmup=30))
optim_wrapper = dict(optimizer=dict(lr=2e-3))
auto_scale_lr = dict(base_batch_size=1024)
train_cfg = dict(max_epochs=300)
