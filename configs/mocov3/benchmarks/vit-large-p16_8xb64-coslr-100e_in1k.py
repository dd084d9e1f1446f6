"""Fine-tuning a ViT-L/16 pretrained with MoCo v3, 100 epochs, batch 512: OpenMMLab's recipe."""

_base_ = './vit-base-p16_8xb64-coslr-150e_in1k.py'

model = dict(backbone=dict(arch='large', drop_path_rate=0.5))
train_cfg = dict(max_epochs=100)
