"""Fine-tuning a ViT-B/16 pretrained with MoCo v3 as its authors do: DeiT's defaults, 150 epochs."""

_base_ = '../../_base_/finetune_deit.py'

model = dict(backbone=dict(type='VisionTransformer', arch='base', drop_path_rate=0.1))
train_cfg = dict(max_epochs=150)
