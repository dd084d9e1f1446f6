"""Every recipe takes its step on an emulated GPU: no mixed devices or types, in all modes."""

import itertools
import random
from collections.abc import Iterator
from typing import Any

import pytest

from mmssl.apis import load_config
from mmssl.planning.device_contract import PRECISIONS, check_forward, check_step

from ..helpers.paths import REPO
from ..helpers.ranks import Ranks

ESVIT = 'esvit/esvit_{}_16xb64-amp-mcrop-coslr-v200-300e_in1k.py'
FAMILIES = {
    'moco': 'mocov2/mocov2_resnet50_8xb32-coslr-200e_in1k.py',
    'mocov3': 'mocov3/mocov3_vit-small-p16_16xb256-amp-coslr-300e_in1k.py',
    'mocov3 resnet': 'mocov3/mocov3_resnet50_8xb512-amp-coslr-100e_in1k.py',
    'moby': 'moby/moby_swin-tiny_8xb64-amp-coslr-300e_in1k.py',
    'swav': 'swav/swav_resnet50_4xb64-amp-mcrop-coslr-200e_in1k-224px-96px.py',
    'esvit swin': 'esvit/esvit_swin-tiny-w7_16xb32-amp-mcrop-coslr-300e_in1k.py',
    'esvit cvt': ESVIT.format('cvt-tiny'),
    'esvit vil': ESVIT.format('vil-2262'),
    'esvit resnet': ESVIT.format('resnet50'),
    'ibot': 'ibot/ibot_vit-small-p16_16xb64-amp-mcrop-coslr-800e_in1k.py',
    'sere': 'sere/sere_vit-small-p16_8xb128-amp-mcrop-coslr-100e_in1k.py',
}
MODES: dict[str, tuple[Any, ...]] = {
    'family': tuple(FAMILIES),
    'precision': tuple(PRECISIONS),
    'pixels': ('fast', 'device'),
    'with_cp': (False, True),
    'chunk_size': (None, 1024),
    'accumulate': (1, 2),
}


def pairs_of(case: dict[str, Any]) -> set[frozenset]:
    """Return the pairs of modes' values that meet in a case."""
    return {frozenset(pair) for pair in itertools.combinations(case.items(), 2)}


def pairwise() -> list[dict[str, Any]]:
    """Return few cases in which each two values of two modes meet."""
    draw = random.Random(0)
    names = list(MODES)
    missing = {
        frozenset([(a, x), (b, y)])
        for a, b in itertools.combinations(names, 2)
        for x in MODES[a]
        for y in MODES[b]
    }
    cases = []
    while missing:
        tries = [{name: draw.choice(MODES[name]) for name in names} for _ in range(200)]

        best = max(tries, key=lambda case: len(missing & pairs_of(case)))
        missing -= pairs_of(best)
        cases.append(best)
    return cases


CASES = pairwise()


def options(case: dict[str, Any]) -> dict[str, Any]:
    """Return the --cfg-options of a case."""
    cfg = load_config(REPO / 'configs' / FAMILIES[case['family']])
    pipeline = cfg.train_dataloader.dataset.pipeline
    views = next(i for i, step in enumerate(pipeline) if step.type == 'MultiView')
    found = {
        f'train_dataloader.dataset.pipeline.{views}.pixels': case['pixels'],
        'model.backbone.with_cp': case['with_cp'],
        'optim_wrapper.accumulative_counts': case['accumulate'],
    }
    necks = {'': cfg.model.neck} if 'type' in cfg.model.neck else cfg.model.neck
    for name, neck in necks.items():
        if neck.type == 'DINONeck':
            found[f'model.neck.{name}.chunk_size'.replace('..', '.')] = case['chunk_size']
    return found


def _check(config: str, precision: str, changes: dict[str, Any]) -> list[str]:
    path = REPO / 'configs' / config
    found = check_forward(load_config(path, changes), precision)
    return found + check_step(load_config(path, {**changes, 'model.backbone.with_cp': False}))


@pytest.fixture(scope='module')
def process() -> Iterator[Ranks]:
    """Call a function in a process of its own: a device that torch has learnt stays."""
    alone = Ranks(1)
    yield alone
    alone.stop()


def own_precision(config: str) -> str:
    return load_config(REPO / 'configs' / config).optim_wrapper.get('amp') or 'float32'


def test_the_quickstart_on_an_emulated_gpu(process):
    config = 'quickstart/mocov3_vit-conv_1xb64-32e_shapes.py'
    assert process(_check, config, 'bfloat16', {}) == [[]]


@pytest.mark.slow
@pytest.mark.parametrize('family', FAMILIES)
def test_every_family_on_an_emulated_gpu(process, family):
    """In its own precision, with device-side colours."""
    case = next(c for c in CASES if (c['family'], c['pixels']) == (family, 'device'))
    config = FAMILIES[family]
    assert process(_check, config, own_precision(config), options(case)) == [[]]


@pytest.mark.nightly
@pytest.mark.parametrize('case', CASES, ids=lambda c: '-'.join(map(str, c.values())))
def test_every_two_modes_together(process, case):
    assert process(_check, FAMILIES[case['family']], case['precision'], options(case)) == [[]]


RECIPES = sorted(
    str(path.relative_to(REPO / 'configs'))
    for method in (
        *('mocov1', 'mocov2', 'mocov3', 'moby', 'swav', 'esvit', 'ibot', 'sere'),
        *('cifar10', 'one_gpu', 'quickstart'),
    )
    for path in (REPO / 'configs' / method).glob('*.py')
)


@pytest.mark.nightly
@pytest.mark.parametrize('config', RECIPES)
def test_every_recipe_in_its_own_precision(process, config):
    assert process(_check, config, own_precision(config), {}) == [[]]


# the contract itself --------------------------------------------------------------------------
def _mixed() -> list[str]:
    """Let the loss add a tensor of the CPU, then a half one; return what is said of each."""
    said = []
    cfg = load_config(REPO / 'configs' / 'quickstart' / 'mocov3_vit-conv_1xb64-32e_shapes.py')
    import torch

    from mmssl.models.algorithms import MoCoV3

    plain = MoCoV3.loss
    for change in (
        lambda loss: loss + torch.ones(1),
        lambda loss: loss.half(),
    ):
        MoCoV3.loss = lambda self, *args, c=change: {'loss': c(plain(self, *args)['loss'])}
        for check in (lambda: check_forward(cfg, 'float32'), lambda: check_step(cfg)):
            try:
                said.append('; '.join(check()))
            except RuntimeError as error:
                said.append(str(error))
    MoCoV3.loss = plain
    return said


def test_mixed_devices_and_half_losses_are_found(process):
    ((cpu_on_cuda, cpu_on_device, half_on_cuda, half_on_device),) = process(_mixed)
    assert 'cuda' in cpu_on_cuda and 'cpu' in cpu_on_cuda
    assert 'emu' in cpu_on_device and 'cpu' in cpu_on_device
    assert half_on_cuda == 'loss is torch.float16 on cuda'
    assert 'float16' in half_on_device
