"""Schedule objects against the values that the official codes computed."""

import numpy as np
import pytest

from mmssl.core import Schedule

from ..helpers.schedules import agree, values


def at_epochs(schedule, epochs, per_epoch=7):
    """Return the schedule at each epoch, which must hold through the epoch."""
    table = values(schedule, epochs, per_epoch).reshape(epochs, per_epoch)
    assert (table == table[:, :1]).all()
    return table[:, 0]


def at(schedule, index, epochs, per_epoch):
    """Return the schedule at some iterations of a long run."""
    return np.array([schedule.value_at(int(i), epochs * per_epoch, per_epoch) for i in index])


@pytest.mark.parametrize('run', ['vit', 'r50', 'short_warm'])
def test_mocov3(golden, run):
    case = golden('mocov3_schedules_a')
    c = case.case['configs'][run]
    lr = Schedule(c['lr'], 0.0, warmup=c['warmup_epochs'])
    agree(values(lr, c['epochs'], c['iters']), case.expect[f'{run}.lr'])
    momentum = Schedule(c['moco_m'], 1.0)
    agree(values(momentum, c['epochs'], c['iters']), case.expect[f'{run}.moco_m'])


def test_mocov3_linear_probe(golden):
    expected = golden('mocov3_schedules_a').expect['lincls.lr']
    agree(at_epochs(Schedule(12.0, 0.0, hold_epochs=True), 90), expected)


MOBY_SHAPES = {
    'pretrain': {},
    'pretrain_b1024': {},
    'pretrain_accum2': {},
    'pretrain_nowarm': {},
    'linear_probe': {},
    'pretrain_linear': dict(shape='linear', after_warmup=True),
    'pretrain_step': dict(shape='step', milestones=(3, 6, 9)),
}


@pytest.mark.parametrize('run', MOBY_SHAPES)
def test_moby(golden, run):
    case = golden('moby_schedules_a')
    c = case.case['runs'][run]
    final = c['scaled_base_lr'] * c['final_fraction'] if 'linear' in c['schedule'] else None
    settings = dict(
        start=c['scaled_base_lr'],
        final=final or c['scaled_min_lr'],
        warmup=c['warmup_epochs'],
        warmup_start=c['scaled_warmup_lr'],
        **dict(dict(after_warmup=False), **MOBY_SHAPES[run]),
    )
    agree(values(Schedule(**settings), 10, 7), case.expect[f'{run}.lr_schedule'])
    agree(values(Schedule(**settings, lag=1), 10, 7), case.expect[f'{run}.lr_used'])


def test_moby_momentum_and_the_published_run(golden):
    e = golden('moby_schedules_a').expect
    agree(values(Schedule(0.99, 1.0), 10, 7), e['momentum_099'])
    agree(values(Schedule(0.996, 1.0), 10, 7), e['momentum_0996'])
    agree(values(Schedule(0.99, 1.0), 10, 7)[35:], e['momentum_099_resumed_intended'])
    agree(at(Schedule(0.99, 1.0), e['full.k'], 300, 2502), e['full.momentum'])
    lr = Schedule(1e-3, 5e-6, warmup=5, warmup_start=5e-7, after_warmup=False)
    agree(at(lr, e['full.t'], 300, 2502), e['full.lr_schedule'])


def temperature(c):
    return Schedule(
        c['teacher_temp'],
        shape='constant',
        warmup=c['warmup_teacher_temp_epochs'],
        warmup_start=c['warmup_teacher_temp'],
        warmup_reaches=True,
        hold_epochs=True,
    )


@pytest.mark.parametrize('run', ['small', 'small_nowarm', 'full300'])
def test_esvit(golden, run):
    case = golden('esvit_schedules_a')
    c, e = case.case['runs'][run], case.expect
    epochs, per_epoch = c['epochs'], c['iters_per_epoch']
    index = e['full300.index'] if run == 'full300' else range(epochs * per_epoch)
    lr = Schedule(c['lr_peak'], c['min_lr'], warmup=c['warmup_epochs'], warmup_reaches=True)
    agree(at(lr, index, epochs, per_epoch), e[f'{run}.lr'])
    decay = Schedule(c['weight_decay'], c['weight_decay_end'])
    agree(at(decay, index, epochs, per_epoch), e[f'{run}.wd'])
    momentum = Schedule(c['momentum_teacher'], 1.0)
    agree(at(momentum, index, epochs, per_epoch), e[f'{run}.momentum'])
    agree(at_epochs(temperature(c), epochs), e[f'{run}.teacher_temp'])


def test_sere(golden):
    e = golden('sere_schedules_a').expect
    lr = Schedule(0.0005 * 1024 / 256, 1e-6, warmup=2, warmup_reaches=True)
    agree(values(lr, 10, 7), e['small.lr'])
    agree(values(Schedule(0.04, 0.4), 10, 7), e['small.wd'])
    agree(values(Schedule(0.996, 1.0), 10, 7), e['small.momentum'])
    rise = dict(shape='constant', warmup=3, warmup_reaches=True, hold_epochs=True)
    for delay in (0, 2):
        image = Schedule(0.07, warmup_start=0.04, **rise)
        agree(at_epochs(image, 10), e[f'small.teacher_temp_start{delay}'])
        patch = Schedule(0.08, warmup_start=0.03, delay=delay, **rise)
        agree(at_epochs(patch, 10), e[f'small.teacher_patch_temp_start{delay}'])


@pytest.mark.parametrize(
    ('arch', 'lr', 'final', 'rise'), [('vit_small', 0.002, 1e-6, 30), ('vit_base', 0.003, 2e-6, 50)]
)
def test_sere_published(golden, arch, lr, final, rise):
    e = golden('sere_schedules_a').expect
    where = (e['pub.iter_index'], 100, 1251)
    schedule = Schedule(lr, final, warmup=10, warmup_reaches=True)
    agree(at(schedule, *where), e[f'pub.{arch}.lr'])
    agree(at(Schedule(0.04, 0.4), *where), e['pub.wd'])
    agree(at(Schedule(0.996, 1.0), *where), e['pub.momentum'])
    temp = Schedule(0.07, None, 'constant', rise, 0.04, warmup_reaches=True, hold_epochs=True)
    agree(at_epochs(temp, 100), e[f'pub.{arch}.teacher_temp'])
    agree(at_epochs(temp, 100), e[f'pub.{arch}.teacher_patch_temp'])


@pytest.mark.parametrize('run', ['bs4096_like', 'bs256_like', 'one_warm'])
def test_swav(golden, run):
    case = golden('swav_schedules_a')
    c = case.case['configs'][run]
    schedule = Schedule(
        c['base_lr'],
        c['final_lr'],
        warmup=c['warmup_epochs'],
        warmup_start=c['start_warmup'],
        warmup_reaches=True,
    )
    agree(values(schedule, c['epochs'], c['iters_per_epoch']), case.expect[f'{run}.lr'])


def test_swav_evaluation(golden):
    e = golden('swav_schedules_a').expect
    agree(at_epochs(Schedule(0.3, 0.0, hold_epochs=True), 100), e['eval_linear.lr'])
    trunk = Schedule(0.01, shape='step', milestones=(12, 16), gamma=0.2)
    agree(at_epochs(trunk, 20), e['eval_semisup_10pct.trunk_lr'])


def test_mocov2(golden):
    e = golden('mocov2_schedules_a').expect
    agree(at_epochs(Schedule(0.03, 0.0, hold_epochs=True), 200), e['v2_cos.lr'])
    agree(at_epochs(Schedule(0.03, shape='step', milestones=(120, 160)), 200), e['v1_step.lr'])
    agree(at_epochs(Schedule(30.0, shape='step', milestones=(60, 80)), 100), e['lincls.lr'])
