"""Fine-tuning a ViT-S/16 (12 heads) pretrained with MoCo v3 by DeiT's defaults, 150 epochs.

The length is published for ViT-B alone, and DeiT's default is 300; the paper's figure for ViT-S
names 150 [memory].
"""

_base_ = '../../_base_/finetune_deit.py'

model = dict(
    backbone=dict(type='VisionTransformer', arch='small', num_heads=12, drop_path_rate=0.1))
train_cfg = dict(max_epochs=150)
