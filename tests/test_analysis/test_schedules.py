"""Schedules of real configs against their curves."""

import math

import pytest

from mmssl.analysis.schedules import schedules
from mmssl.apis import load_config
from mmssl.core import Curve, UserError

from ..conftest import REPO

IBOT = REPO / 'configs/ibot/ibot_vit-small-p16_16xb64-amp-mcrop-coslr-800e_in1k.py'
SMALL = {'model.backbone.arch': (16, 2, 2), 'model.neck.dims': (16, 8, 8, 4)}
SMALL |= {'model.neck.prototypes': 8, 'model.head.prototypes': 8}


@pytest.fixture(scope='module')
def found():
    return schedules(load_config(IBOT, {**SMALL, 'train_cfg.max_epochs': 40}), 3)


def test_of_the_groups(found):
    rate = Curve(2e-3, final=1e-6, warmup=10, warmup_reaches=True)
    values = [rate(i, 120, 3) for i in range(120)]
    frozen = [0.0] * 3 + values[3:]
    rates = sorted((line.values for line in found['lr']), reverse=True)
    assert rates == [values, frozen]
    assert sorted(line.label.split(', ', 2)[2:] for line in found['lr']) == [
        [],
        ['frozen 1 epochs'],
    ]
    decay = Curve(0.04, final=0.4)
    decays = sorted(line.values for line in found['weight_decay'])
    assert decays == [[0.0] * 120, [decay(i, 120, 3) for i in range(120)]]


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
    cfg.train_cfg = None
    with pytest.raises(UserError, match='trains nothing, so it has no schedules'):
        schedules(cfg, 3)
