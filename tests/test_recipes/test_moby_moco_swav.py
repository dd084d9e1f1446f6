"""MoBY, MoCo v1 and v2, SwAV: each config is the published recipe, number by number."""

import numpy as np
import pytest
import torch
from torch import nn

from mmssl.core.sync_bn import convert_sync_bn
from mmssl.registry import MODELS

from ..helpers.configs import CONFIGS, find, load, network
from ..helpers.recipe_names import (
    BIG,
    BN,
    DEIT,
    MOCOV1,
    MOCOV2,
    ONE_MACHINE,
    OPENMMLAB,
    PAIR,
    SMALL,
    SWIN,
    W2,
    W4,
)
from ..helpers.tiny import losses, make_runner

# config: all parameters, trainable ones, those of the backbone
COUNTS = {
    f'{SWIN}8xb64-amp-coslr-300e': (65_562_100, 33_835_898, 27_519_354),
    f'{SWIN}8xb64-amp-coslr-100e': (65_562_100, 33_835_898, 27_519_354),
    f'{BN}8xb64-amp-coslr-300e': (65_562_100, 33_835_898, 27_519_354),
    f'{BN}8xb64-amp-coslr-100e': (65_562_100, 33_835_898, 27_519_354),
    DEIT: (50_708_992, 26_409_344, 21_665_664),
    MOCOV1: (47_540_608, 47_540_608 // 2, 23_508_032),
    f'{MOCOV2}200e': (55_933_312, 55_933_312 // 2, 23_508_032),
    f'{MOCOV2}800e': (55_933_312, 55_933_312 // 2, 23_508_032),
    **{
        short: (28_354_752, 28_354_752, 23_508_032)
        for short in (
            *(f'{BIG}{epochs}e' for epochs in (100, 200, 400, 800)),
            *(f'{SMALL}{epochs}e' for epochs in (200, 400)),
            *(PAIR, OPENMMLAB, ONE_MACHINE),
        )
    },
    W2: (128_918_784, 128_918_784, 93_907_072),
    W4: (443_944_320, 443_944_320, 375_378_176),
}


def test_no_recipe_is_left_out():
    folders = ('moby', 'mocov1', 'mocov2', 'swav')
    assert {find(s) for s in COUNTS} == {p for p in CONFIGS if p.parent.name in folders}


@pytest.mark.parametrize('short', COUNTS)
def test_parameters(short):
    model = network(find(short))
    everything = list(model.parameters())
    trained = [p for p in everything if p.requires_grad]
    found = [
        sum(p.numel() for p in ps) for ps in (everything, trained, model.backbone.parameters())
    ]
    assert tuple(found) == COUNTS[short]


def test_moby_with_batch_norm_can_be_synchronised():
    small = dict(arch=(8, (1, 1), (1, 2)), img_size=32, window_size=4)
    settings = load(find(f'{BN}8xb64-amp-coslr-300e')).model.backbone
    backbone = MODELS.build({**settings, **small})
    images = torch.randn(2, 3, 32, 32)
    expected = backbone.encode(images).pooled
    torch.testing.assert_close(convert_sync_bn(backbone, 'cpu').encode(images).pooled, expected)


# settings -----------------------------------------------------------------------------------------
def test_moby_settings():
    for short in (
        f'{SWIN}8xb64-amp-coslr-300e',
        f'{SWIN}8xb64-amp-coslr-100e',
        f'{BN}8xb64-amp-coslr-300e',
        f'{BN}8xb64-amp-coslr-100e',
        DEIT,
    ):
        cfg, model = load(find(short)), network(find(short))
        optimizer, wrapper = cfg.optim_wrapper.optimizer, cfg.optim_wrapper
        assert (optimizer.type, optimizer.lr, optimizer.weight_decay) == ('AdamW', 1e-3, 0.05)
        assert (wrapper.clip_grad, wrapper.amp) == (dict(max_norm=5.0), 'float16')
        assert (cfg.auto_scale_lr.base_batch_size, bool(cfg.sync_bn)) == (512, True)
        assert (model.queue.length, model.queue.banks, model.head.temperature) == (4096, 2, 0.2)
        assert model.head.weight == 1.0  # no factor of 2 T
        assert (model.momentum.start, model.momentum.final) == (0.99, 1.0)
        one, two = cfg.train_dataloader.dataset.pipeline[1].views
        for view, blur, solarize in ((one, 1.0, None), (two, 0.1, 0.2)):
            assert (view.size, view.scale, view.jitter) == (224, (0.08, 1.0), (0.4, 0.4, 0.2, 0.1))
            assert (view.blur, view.get('solarize')) == (blur, solarize)
        assert cfg.model.backbone.drop_path_rate == 0.2
        assert drop_paths(model.student)[-1] == pytest.approx(0.2)
        assert not any(drop_paths(model.teacher))


def drop_paths(branch):
    """Return the rates of all drop paths of a branch."""
    return [m.drop_prob for m in branch.modules() if type(m).__name__ == 'DropPath'] or [0.0]


def test_moby_deit_has_six_heads_and_learned_positions():
    net = network(find(DEIT)).backbone.net
    assert (len(net.blocks), net.blocks[0].attn.num_heads) == (12, 6)
    assert net.pos_embed.requires_grad and tuple(net.pos_embed.shape) == (1, 197, 384)


def test_moco_settings():
    for short, temperature, hidden in ((MOCOV1, 0.07, ()), (f'{MOCOV2}200e', 0.2, (2048,))):
        cfg, model = load(find(short)), network(find(short))
        optimizer = cfg.optim_wrapper.optimizer
        assert (optimizer.type, optimizer.lr, optimizer.momentum) == ('SGD', 0.03, 0.9)
        assert (optimizer.weight_decay, cfg.auto_scale_lr.base_batch_size) == (1e-4, 256)
        assert cfg.get('sync_bn') is None and cfg.optim_wrapper.get('amp') is None
        assert (model.queue.length, model.queue.banks) == (65536, 1)
        assert (model.head.temperature, model.head.weight) == (temperature, 1.0)
        assert model.student.neck['project'].dims == (2048, *hidden, 128)
        norms = [m for m in model.student.neck.modules() if isinstance(m, nn.BatchNorm1d)]
        assert not norms
    (first,) = load(find(MOCOV1)).train_dataloader.dataset.pipeline[1].views
    assert first == dict(
        type='RandomView', size=224, scale=(0.2, 1.0), gray=0.2, gray_first=True,
        jitter=(0.4, 0.4, 0.4, 0.4), jitter_p=1.0, repeat=2,
    )  # fmt: skip
    (second,) = load(find(f'{MOCOV2}200e')).train_dataloader.dataset.pipeline[1].views
    assert second == dict(
        type='RandomView', size=224, scale=(0.2, 1.0), gray=0.2, jitter=(0.4, 0.4, 0.4, 0.1),
        blur=0.5, repeat=2,
    )  # fmt: skip


# config: GPUs, large crops' scale, small crops' count and scale, rate, frozen, queue, hidden
LARGE, LOCAL = (0.14, 1.0), (0.05, 0.14)
SWAV_RECIPES = {
    **{f'{BIG}{e}e': (64, LARGE, 6, LOCAL, 4.8, 313, None, 2048) for e in (100, 200, 400, 800)},
    **{f'{SMALL}{e}e': (4, LARGE, 6, LOCAL, 0.6, 5005, (3840, 15), 2048) for e in (200, 400)},
    OPENMMLAB: (8, LARGE, 6, LOCAL, 0.6, 5005, (3840, 15), 2048),
    ONE_MACHINE: (8, LARGE, 6, LOCAL, 0.6, 5005, (3840, 15), 2048),
    PAIR: (64, (0.08, 1.0), 0, None, 4.8, 313, None, 2048),
    W2: (128, LARGE, 4, LOCAL, 4.8, 313, None, 8192),
    W4: (64, (0.08, 1.0), 4, (0.08, 0.14), 4.8, 313, (2560, 0), 8192),
}


@pytest.mark.parametrize('short', SWAV_RECIPES)
def test_swav_settings(short):
    gpus, scale, small, local, lr, frozen, queue, hidden = SWAV_RECIPES[short]
    cfg, model = load(find(short)), network(find(short))
    optimizer = cfg.optim_wrapper.optimizer
    assert (optimizer.type, optimizer.lr, optimizer.weight_decay) == ('LARC', lr, 1e-6)
    assert optimizer.momentum == 0.9 and cfg.sync_bn
    assert cfg.optim_wrapper.paramwise_cfg.rules == [dict(match='prototypes', frozen_iters=frozen)]
    batch = gpus * cfg.train_dataloader.batch_size
    assert batch == cfg.auto_scale_lr.base_batch_size
    assert cfg.param_scheduler[0].final == pytest.approx(lr / 1000)
    head, neck = model.head, model.student.neck['project']
    assert (head.prototypes.out_features, head.prototypes.in_features) == (3000, 128)
    assert (head.temperature, head.epsilon, head.iterations, head.assign) == (0.1, 0.05, 3, (0, 1))
    assert neck.dims == (model.backbone.num_features, hidden, 128)
    assert (head.memory is None) == (queue is None)
    if queue:
        assert (head.memory.length, head.queue_start) == queue
        assert head.memory.length % batch == 0
    first, *others = cfg.train_dataloader.dataset.pipeline[1].views
    views = [(first, 224, scale, 2), *((v, 96, local, small) for v in others)]
    assert len(others) == bool(small)
    for view, size, share, repeat in views:
        assert (view.size, view.scale, view.repeat) == (size, share, repeat)
        assert (view.jitter, view.blur) == ((0.8, 0.8, 0.8, 0.2), 0.5)
    assert model_std(short) == pytest.approx([0.228, 0.224, 0.225])


def model_std(short):
    """Return the standard deviations pixels are divided by."""
    return MODELS.build(load(find(short)).model.data_preprocessor).std.flatten().tolist()


# one short run of each, the network and the images shrunk -----------------------------------------
TINY_SWIN = dict(arch=(8, (1, 1), (1, 2)), img_size=32, patch_size=4, window_size=4)
TINY_VIT = dict(arch=(16, 2, 2), num_heads=2, img_size=32, patch_size=8)
TINY_RESNET = dict(layers=(1, 1), width=4, small_stem=True)
RUNS = {
    f'{SWIN}8xb64-amp-coslr-300e': (TINY_SWIN, (16, 24, 8), dict(queue_length=24)),
    f'{BN}8xb64-amp-coslr-100e': (TINY_SWIN, (16, 24, 8), dict(queue_length=24)),
    DEIT: (TINY_VIT, (16, 24, 8), dict(queue_length=24)),
    MOCOV1: (TINY_RESNET, (32, 8), dict(queue_length=24)),
    f'{MOCOV2}200e': (TINY_RESNET, (32, 16, 8), dict(queue_length=24)),
    f'{BIG}100e': (TINY_RESNET, (32, 16, 8), dict(head__dim=8, head__prototypes=12)),
    OPENMMLAB: (
        TINY_RESNET,
        (32, 16, 8),
        dict(head__dim=8, head__prototypes=12, head__queue_length=12, head__queue_start=0),
    ),
}


def shrunk(short, data):
    """Return options that leave a recipe its method, rules and schedule, on tiny images."""
    backbone, dims, others = RUNS[short]
    cfg = load(find(short))
    options = dict(data_root=str(data), train_cfg__max_epochs=1, val_cfg=None)
    options |= dict(val_dataloader=None, val_evaluator=None, train_dataloader__batch_size=6)
    options |= dict(train_dataloader__num_workers=0, param_scheduler__0__warmup=0)
    options['default_hooks__logger__interval'] = 1
    for i, view in enumerate(cfg.train_dataloader.dataset.pipeline[1].views):
        size = 32 if view.size == 224 else 16
        options[f'train_dataloader__dataset__pipeline__1__views__{i}__size'] = size
    options |= {f'model__backbone__{key}': value for key, value in backbone.items()}
    options['model__neck__dims'] = dims
    if 'predictor' in cfg.model.head:
        options['model__head__predictor__dims'] = (dims[-1], 16, dims[-1])
    return options | {f'model__{key}': value for key, value in others.items()}


@pytest.mark.parametrize('short', RUNS)
def test_a_shrunken_recipe_trains(short, image_folder, tmp_path):
    runner = make_runner(find(short), tmp_path, **shrunk(short, image_folder))
    before = {name: value.clone() for name, value in runner.model.named_parameters()}
    seen = losses(runner)
    assert len(seen) == 4 and np.isfinite(seen).all()
    moved = {n for n, p in runner.model.named_parameters() if not torch.equal(p, before[n])}
    assert any(name.startswith('student.backbone') for name in moved)
    assert any(name.startswith('teacher.backbone') for name in moved) == ('swav' not in short)
    if 'swav' in short:  # frozen, only made unit vectors
        prototypes = runner.model.head.prototypes.weight
        unit = nn.functional.normalize(before['head.prototypes.weight'], dim=1)
        torch.testing.assert_close(prototypes, unit)
