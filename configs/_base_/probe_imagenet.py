"""Linear probe on stored ImageNet features: minutes instead of the 90 epochs of the online form."""

_base_ = './knn_imagenet.py'

protocol = 'cached probe'
test_cfg = dict(
    _delete_=True,
    type='ProbeLoop',
    feature=dict(blocks=1, pool='auto'),
    probe=dict(
        rates=(0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0),
        decays=(0.0, 1e-5, 1e-4, 1e-3, 1e-2),
        epochs=60,
        batch=512,
        held_out=0.1),   # share of the training images that chooses rate and decay
    bank=dict(split='train'))
