"""Fine-tuning a ViT-B/16 pretrained with SERE by MAE's recipe for ViT-B, 100 epochs, batch 1024."""

_base_ = '../../_base_/finetune_mae.py'

model = dict(backbone=dict(arch='base'))
train_cfg = dict(max_epochs=100)
