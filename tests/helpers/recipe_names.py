"""Beginnings of the names of pretraining configs, see `configs.find`."""

E, LONG = 'esvit/esvit_', '-amp-mcrop-coslr-300e_in1k'
SWIN, DEIT, BN = 'moby/moby_swin-tiny_', 'moby/moby_deit-small_', 'moby/moby_swin-tiny-bn_'
MOCOV1, MOCOV2 = 'mocov1/mocov1_', 'mocov2/mocov2_resnet50_8xb32-coslr-'
SWAV = 'swav/swav_resnet50'
BIG, SMALL = f'{SWAV}_64xb64-amp-mcrop-coslr-', f'{SWAV}_4xb64-amp-mcrop-coslr-'
W2, W4 = f'{SWAV}w2_', f'{SWAV}w4_'
PAIR, OPENMMLAB = f'{SWAV}_64xb64-amp-coslr-', f'{SWAV}_8xb32-mcrop-'
ONE_MACHINE = f'{SWAV}_8xb32-amp-mcrop-'  # of the authors' README
