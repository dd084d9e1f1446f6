"""Linear probes: each config is the published protocol, number by number."""

from typing import NamedTuple

import pytest

from mmssl.models.heads.sweep import RATES

from ..helpers.configs import CONFIGS, find, load, network
from ..helpers.probe_names import ESVIT, IBOT, MOBY, MOCOV3, SERE, STEPS, SWAV


class Facts(NamedTuple):
    """What a protocol fixes; ``rate`` is for ``batch`` images, ``width`` that of the feature."""

    rate: float
    batch: int
    epochs: int
    width: int
    layers: int = 1
    decay: float = 0.0
    blocks: int = 1
    resize: str = 'bilinear'


def four(rate, width):
    """EsViT: four blocks, 4 GPUs of 256 images."""
    return Facts(rate, 1024, 100, width, blocks=4, resize='bicubic')


def sweep(width, blocks=1):
    """iBOT: 45 rates for each 256 images."""
    return Facts(4.0, 1024, 100, width, layers=45, blocks=blocks, resize='bicubic')


FACTS = {
    f'{MOBY}swin-tiny_8xb64': Facts(1.0, 512, 100, 768),
    f'{MOBY}swin-tiny-bn_8xb64': Facts(1.0, 512, 100, 768),
    f'{MOBY}deit-small_8xb64': Facts(1.0, 512, 100, 384),
    # the last blocks of stage three before the last norm, those of stage four after it
    f'{ESVIT}swin-tiny-w7_4xb256-linear': four(0.004, 2304),
    f'{ESVIT}swin-tiny-w14_4xb256-linear': four(0.004, 2304),
    f'{ESVIT}swin-small-w7_4xb256-linear': four(0.012, 2304),
    f'{ESVIT}swin-small-w14_4xb256-linear': four(0.004, 2304),
    f'{ESVIT}swin-base-w7_4xb256-linear': four(0.004, 3072),
    f'{ESVIT}swin-base-w14_4xb256-linear': four(0.004, 3072),
    f'{ESVIT}cvt-tiny_4xb256-linear': four(0.004, 2304),
    f'{ESVIT}vil-2262_4xb256-linear': four(0.004, 2304),
    f'{ESVIT}resnet50_4xb256-linear': Facts(0.04, 1024, 100, 2048, resize='bicubic'),
    f'{IBOT}vit-small-p16_8xb128-linear-sweep': sweep(4 * 384, 4),
    f'{IBOT}vit-small-p16_8xb128-linear-coslr': Facts(
        0.004, 1024, 100, 4 * 384, blocks=4, resize='bicubic'
    ),
    f'{IBOT}vit-base-p16_8xb128-linear-sweep': sweep(2 * 768),
    f'{IBOT}vit-large-p16_8xb128-linear-sweep': sweep(2 * 1024),
    f'{SERE}vit-small-p16_8xb128-linear-sweep': sweep(4 * 384, 4),
    f'{SERE}vit-base-p16_8xb128-linear-sweep': sweep(2 * 768),
    **{
        f'dino/benchmarks/vit-{net}_': Facts(
            0.004, 1024, 100, 1536, blocks=blocks, resize='bicubic'
        )
        for net, blocks in (('small-p16', 4), ('small-p8', 4), ('base-p16', 1), ('base-p8', 1))
    },
    'dino/benchmarks/resnet50_': Facts(0.004, 1024, 100, 2048, resize='bicubic'),
    f'{SWAV}_8xb32-linear': Facts(0.3, 256, 100, 2048, decay=1e-6),
    f'{SWAV}w2_': Facts(0.3, 256, 100, 4096, decay=1e-6),
    f'{SWAV}w4_': Facts(0.3, 256, 100, 8192, decay=1e-6),
    f'{SWAV}_8xb512-linear': Facts(1.6, 4096, 90, 2048),
    f'mocov1/{STEPS}': Facts(30.0, 256, 100, 2048),
    f'mocov2/{STEPS}': Facts(30.0, 256, 100, 2048),
    f'{MOCOV3}resnet50_8xb128-linear': Facts(0.4, 1024, 90, 2048),
    f'{MOCOV3}vit-small-p16_8xb128-linear': Facts(12.0, 1024, 90, 384),
    f'{MOCOV3}vit-base-p16_8xb128-linear': Facts(12.0, 1024, 90, 768),
}


def test_no_probe_is_left_out():
    assert {find(s) for s in FACTS} == {p for p in CONFIGS if '-linear-' in p.name}


@pytest.mark.parametrize('short', FACTS)
def test_protocol(short):
    wanted, cfg, model = FACTS[short], load(find(short)), network(find(short))
    trained = {n: tuple(p.shape) for n, p in model.named_parameters() if p.requires_grad}
    layers = (wanted.layers,) if wanted.layers > 1 else ()
    shapes = {'weight': (*layers, 1000, wanted.width), 'bias': (*layers, 1000)}
    assert {n.rsplit('.')[-1]: shape for n, shape in trained.items()} == shapes
    assert all(n.startswith('head.') for n in trained)
    optimizer = cfg.optim_wrapper.optimizer
    assert optimizer.lr == pytest.approx(wanted.rate)
    assert (optimizer.weight_decay, optimizer.momentum) == (wanted.decay, 0.9)
    assert optimizer.type == ('LARS' if '8xb512' in short else 'SGD')
    assert cfg.auto_scale_lr.base_batch_size == wanted.batch
    assert (cfg.train_cfg.max_epochs, model.blocks) == (wanted.epochs, wanted.blocks)
    assert model.frozen and model.mixup is None
    (_, train), (_, view) = (
        cfg[f'{part}_dataloader'].dataset.pipeline for part in ('train', 'val')
    )
    assert dict(train) == dict(type='TrainView', size=224)
    assert dict(view) == dict(type='CenterView', size=224, resize=256, interpolation=wanted.resize)


def test_only_moby_smooths_labels_clips_and_lets_drop_path_act():
    for short in FACTS:
        cfg, model = load(find(short)), network(find(short))
        moby = short.startswith(MOBY)
        assert model.backbone_train_mode == moby
        assert getattr(model.head, 'label_smoothing', 0.0) == (0.1 if moby else 0.0)
        assert cfg.optim_wrapper.get('clip_grad') == (dict(max_norm=5.0) if moby else None)
        assert cfg.optim_wrapper.get('amp') == ('float16' if moby else None)
        assert cfg.optim_wrapper.optimizer.get('nesterov', False) == moby
        drops = [m.drop_prob for m in model.modules() if type(m).__name__ == 'DropPath']
        assert max(drops, default=0) == pytest.approx(0.2 if moby else 0.0)


@pytest.mark.parametrize('arch', ['small', 'base', 'large'])
def test_the_sweep_is_ibots(arch):
    short = f'{IBOT}vit-{arch}-p16_8xb128-linear-sweep'
    model = network(find(short))
    assert model.pool == ('cls' if arch == 'small' else 'cls+mean')
    assert len(RATES) == FACTS[short].layers
    cfg = load(find(short))
    assert cfg.val_evaluator.type == cfg.test_evaluator.type == 'Accuracy'
    assert cfg.default_hooks.sweep.type == 'SweepHook'
