"""Fine-tuning a ViT-S/16 pretrained with SERE with MAE's numbers for ViT-B, for want of others."""

_base_ = '../../_base_/finetune_mae.py'

model = dict(backbone=dict(arch='small'))
train_cfg = dict(max_epochs=100)
