"""Linear probe of EsViT's ResNet-50: the pooled last map, 100 epochs, batch 1024.

The official script knows no ResNet and four blocks of one have no official meaning; the rate is
the one its log is named after.
"""

_base_ = './swin-tiny-w7_4xb256-linear-coslr-100e_in1k.py'

model = dict(backbone=dict(_delete_=True, type='ResNet', depth=50), blocks=1)
optim_wrapper = dict(optimizer=dict(lr=4e-2))     # 1e-2 for each 256 images
