"""SwAV, ResNet-50, 2x224 + 6x96 crops, 200 epochs, batch 256 on one machine of eight GPUs.

Name, batch, rate and length are OpenMMLab's, mathematics the official code's (LARC, residual
branches that start at torch's scale, red std 0.228, codes normalised over all processes). The
single-machine command of its README is 400 epochs in half precision, the config beside this one.
"""

_base_ = './swav_resnet50_4xb64-amp-mcrop-coslr-200e_in1k-224px-96px.py'

train_dataloader = dict(batch_size=32)
optim_wrapper = dict(amp=None)
