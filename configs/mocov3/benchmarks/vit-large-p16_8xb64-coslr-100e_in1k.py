"""Fine-tuning a ViT-L/16 pretrained with MoCo v3, 100 epochs, batch 512."""

_base_ = '../../_base_/finetune_deit.py'

model = dict(backbone=dict(type='VisionTransformer', arch='large', drop_path_rate=0.5))
train_cfg = dict(max_epochs=100)
