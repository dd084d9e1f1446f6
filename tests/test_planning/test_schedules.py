"""Schedules of real configs against closed forms."""

import math

import pytest
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope

from mmssl.apis import load_config
from mmssl.core import Schedule
from mmssl.planning.schedules import schedules
from mmssl.registry import MODELS, PARAM_SCHEDULERS

from ..helpers.paths import REPO
from ..helpers.refusals import refuses

IBOT = REPO / 'configs/ibot/ibot_vit-small-p16_16xb64-amp-mcrop-coslr-800e_in1k.py'
SMALL = {'model.backbone.arch': (16, 2, 2), 'model.neck.dims': (16, 8, 8, 4)}
SMALL |= {'model.neck.prototypes': 8, 'model.head.prototypes': 8}


@pytest.fixture(scope='module')
def found():
    return schedules(load_config(IBOT, {**SMALL, 'train_cfg.max_epochs': 40}), 3)


def test_of_the_groups(found):
    rate = Schedule(2e-3, final=1e-6, warmup=10, warmup_reaches=True)
    values = [rate.value_at(i, 120, 3) for i in range(120)]
    frozen = [0.0] * 3 + values[3:]
    rates = sorted((line.values for line in found['lr']), reverse=True)
    assert rates == [values, frozen]
    assert sorted(line.label.split(', ', 2)[2:] for line in found['lr']) == [
        [],
        ['frozen 1 epochs'],
    ]
    decay = Schedule(0.04, final=0.4)
    decays = sorted(line.values for line in found['weight_decay'])
    assert decays == [[0.0] * 120, [decay.value_at(i, 120, 3) for i in range(120)]]


def test_groups_are_those_of_training(found):
    """Equal, bit by bit, to the groups and schedulers of a model on the CPU."""
    cfg = load_config(IBOT, {**SMALL, 'train_cfg.max_epochs': 40, 'optim_wrapper.amp': None})
    with DefaultScope.overwrite_default_scope('mmssl'):
        optimizer = build_optim_wrapper(MODELS.build(cfg.model), cfg.optim_wrapper).optimizer
        built = [
            PARAM_SCHEDULERS.build(dict(one, optimizer=optimizer, per_epoch=3, end=40))
            for one in cfg.param_scheduler
        ]
    values = {'lr': set(), 'weight_decay': set()}
    for group in optimizer.param_groups:
        series = {'lr': [], 'weight_decay': []}
        for step in range(120):
            for scheduler in built:
                scheduler.seek(step)
            frozen = step < max(3 * group['frozen_epochs'], group['frozen_iters'])
            series['lr'].append(0.0 if frozen else group['lr'])
            series['weight_decay'].append(group['weight_decay'])
        for name in values:
            values[name].add(tuple(series[name]))
    for name, expected in values.items():
        assert {tuple(line.values) for line in found[name]} == expected


def test_of_the_model(found):
    temperature = [0.04 + 0.03 * (i // 3) / 29 if i < 90 else 0.07 for i in range(120)]
    assert found['teacher_temp'][0].values == pytest.approx(temperature, abs=1e-12)
    kept = [1 - 0.004 * 0.5 * (1 + math.cos(math.pi * i / 120)) for i in range(120)]
    assert found['momentum'][0].values == pytest.approx(kept, abs=1e-12)
    model = {'momentum', 'teacher_temp', 'teacher_patch_temp'}
    assert set(found) == {'lr', 'weight_decay'} | model


def test_of_schedulers_of_mmengine(tiny_config):
    cfg = load_config(tiny_config())
    cfg.param_scheduler = [
        dict(type='CosineAnnealingLR', T_max=3, by_epoch=True, convert_to_iter_based=True),
        dict(type='MultiStepParamScheduler', param_name='weight_decay', milestones=[2]),
    ]
    found = schedules(cfg, 4)
    cosine = [1e-2 * 0.5 * (1 + math.cos(math.pi * i / 12)) for i in range(12)]
    assert found['lr'][0].values == pytest.approx(cosine, abs=1e-12)
    assert [0.05] * 8 + [pytest.approx(0.005)] * 4 in [ln.values for ln in found['weight_decay']]


def test_a_config_that_trains_nothing_is_named():
    cfg = load_config(IBOT, SMALL)
    for part, key in (('optim_wrapper', 'optim_wrapper'), ('train_cfg', 'train_cfg.max_epochs')):
        cfg[part] = None
        with refuses(key):
            schedules(cfg, 3)
