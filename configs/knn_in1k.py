"""kNN on ImageNet-1k by the protocol of EsViT and iBOT, for every network.

python tools/test.py configs/knn_in1k.py --cfg-options data_root=data/imagenet pretrained=NAME
"""

_base_ = './_base_/knn.py'

data_root = 'data/imagenet/'
