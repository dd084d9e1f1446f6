"""Fine-tuning a ViT-L/16 pretrained with iBOT, layer decay 0.75, 50 epochs, batch 1024."""

_base_ = './vit-small-p16_8xb128-amp-coslr-200e_in1k.py'

train_dataloader = dict(batch_size=64)   # the authors: 8 GPUs, each batch twice
model = dict(backbone=dict(arch='large', drop_path_rate=0.4))
param_scheduler = [
    dict(
        type='ScheduleParam', param_name='lr', final=1e-6, warmup=5,
        warmup_reaches=True)]
train_cfg = dict(max_epochs=50)
