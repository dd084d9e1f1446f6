"""kNN on ImageNet-1k as mmselfsup measured its MoCo v2 and SwAV: images resized bilinearly.

python tools/test.py configs/knn_mmselfsup_in1k.py --cfg-options pretrained=NAME
"""

_base_ = './_base_/knn.py'

data_root = 'data/imagenet/'
view = dict(type='CenterView', size=224, resize=256, interpolation='bilinear')
test_dataloader = dict(dataset=dict(pipeline=[dict(type='LoadImage'), view]))
