"""Linear probe of MoCo v1's ResNet-50: the protocol of v2."""

_base_ = '../../mocov2/benchmarks/resnet50_8xb32-linear-steplr-100e_in1k.py'
