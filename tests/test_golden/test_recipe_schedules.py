"""The schedules of each recipe against those that the official codes computed."""

from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from timm.scheduler import CosineLRScheduler
from torch import nn

from mmssl.apis import load_config
from mmssl.engine import ScheduleParam
from mmssl.registry import MODELS, PARAM_SCHEDULERS

from ..helpers.configs import find, load, network
from ..helpers.probe_names import MOBY, MOCOV3, STEPS
from ..helpers.recipe_names import (
    BIG,
    BN,
    DEIT,
    LONG,
    MOCOV1,
    MOCOV2,
    OPENMMLAB,
    PAIR,
    SMALL,
    SWIN,
    W2,
    W4,
    E,
)
from ..helpers.schedules import agree


def schedules(cfg, epochs, per_epoch, ratio=1.0):
    """Return the config's schedules by iteration: rate, decay, momentum, temperatures by epoch."""
    total = epochs * per_epoch
    with torch.device('meta'):
        model = MODELS.build(cfg.model)
    used = {k: v for k, v in cfg.optim_wrapper.optimizer.items() if k != 'type'}
    optimizer = torch.optim.AdamW([nn.Parameter(torch.zeros(1))], **used)
    optimizer.defaults['lr'] *= ratio  # as the runner scales it
    rate, decay = (
        PARAM_SCHEDULERS.build(
            dict(s, optimizer=optimizer, per_epoch=per_epoch, end=epochs, ratio=ratio)
        )
        for s in cfg.param_scheduler
    )

    def by_epoch(schedule):
        return at(lambda i: schedule.value_at(i, total, per_epoch), range(0, total, per_epoch))

    def at(value, steps):
        return np.array([value(int(i)) for i in steps])

    return SimpleNamespace(
        lr=lambda steps: at(rate.value, steps),
        wd=lambda steps: at(decay.value, steps),
        momentum=lambda steps: at(lambda i: model.momentum.value_at(i, total, per_epoch), steps),
        temp=by_epoch(model.teacher_temp),
        patch_temp=by_epoch(getattr(model, 'teacher_patch_temp', model.teacher_temp)),
    )


@pytest.mark.parametrize('run', ['full300', 'small', 'small_nowarm'])
def test_esvit_schedules(golden, run):
    """The recipe at its own length, shortened, and scaled to an eighth of its batch."""
    case = golden('esvit_schedules_a')
    c, e = case.case['runs'][run], case.expect
    options = {}
    if run != 'full300':
        options = {
            'train_cfg.max_epochs': c['epochs'],
            'param_scheduler.0.warmup': c['warmup_epochs'],
            'model.teacher_temp.warmup': c['warmup_teacher_temp_epochs'],
            'model.teacher_temp.start': c['teacher_temp'],
            'model.momentum.start': c['momentum_teacher'],
        }
    cfg = load_config(find(f'{E}swin-tiny-w7_16xb32{LONG}'), options)
    ours = schedules(cfg, c['epochs'], c['iters_per_epoch'], ratio=c['total_batch'] / 512)
    steps = e.get(f'{run}.index', range(c['epochs'] * c['iters_per_epoch']))
    agree(ours.lr(steps), e[f'{run}.lr'])
    agree(ours.wd(steps), e[f'{run}.wd'])
    agree(ours.momentum(steps), e[f'{run}.momentum'])
    agree(ours.temp, e[f'{run}.teacher_temp'])


@pytest.mark.parametrize('arch', ['small', 'base'])
def test_sere_schedules(golden, arch):
    e = golden('sere_schedules_a').expect
    ours = schedules(load(find(f'sere/sere_vit-{arch}')), 100, 1251)
    steps, key = e['pub.iter_index'], f'pub.vit_{arch}'
    agree(ours.lr(steps), e[f'{key}.lr'])
    agree(ours.wd(steps), e['pub.wd'])
    agree(ours.momentum(steps), e['pub.momentum'])
    agree(ours.temp, e[f'{key}.teacher_temp'])
    agree(ours.patch_temp, e[f'{key}.teacher_patch_temp'])


@pytest.mark.parametrize('start', [0, 2])
@pytest.mark.parametrize('short', ['sere/sere_vit-small', 'ibot/ibot_vit-small'])
def test_short_sere_schedules(golden, short, start):
    """With a patch temperature of its own, whose rise waits for the masks to begin."""
    e = golden('sere_schedules_a').expect
    temp = dict(shape='constant', warmup=3, warmup_reaches=True, hold_epochs=True)
    options = {
        'train_cfg.max_epochs': 10,
        'param_scheduler.0.warmup': 2,
        'model.teacher_temp.warmup': 3,
        'model.teacher_patch_temp': dict(temp, start=0.08, warmup_start=0.03, delay=start),
    }
    ours = schedules(load_config(find(short), options), 10, 7)
    agree(ours.lr(range(70)), e['small.lr'])
    agree(ours.wd(range(70)), e['small.wd'])
    agree(ours.momentum(range(70)), e['small.momentum'])
    agree(ours.temp, e[f'small.teacher_temp_start{start}'])
    agree(ours.patch_temp, e[f'small.teacher_patch_temp_start{start}'])


def schedule(short, per_epoch, ratio=1.0, epochs=None, **changes):
    """Return the config's learning rate by iteration, at the length of a recorded case."""
    cfg = load(find(short))
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], cfg.optim_wrapper.optimizer.lr)
    optimizer.defaults['lr'] *= ratio  # as the runner scales it
    (scheduler,) = cfg.param_scheduler
    settings = {k: v for k, v in scheduler.items() if k != 'type'} | changes
    end = epochs or cfg.train_cfg.max_epochs
    return ScheduleParam(optimizer, per_epoch=per_epoch, end=end, ratio=ratio, **settings).value


def follows(value, steps, expected):
    found = np.array([value(int(step)) for step in steps])
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-12, atol=1e-18)


MOBY_RUNS = ('pretrain', 'pretrain_b1024', 'pretrain_accum2', 'pretrain_nowarm')


@pytest.mark.parametrize('run', MOBY_RUNS)
def test_moby_learning_rate(golden, run):
    case = golden('moby_schedules_a')
    c = case.case['runs'][run]
    # as the runner counts: images of one optimizer step
    ratio = c['effective_batch'] * max(c['accumulation_steps'], 1) / 512
    value = schedule(
        f'{SWIN}8xb64-amp-coslr-300e',
        c['iters_per_epoch'],
        ratio,
        c['epochs'],
        warmup=c['warmup_epochs'],
    )
    follows(value, range(70), case.expect[f'{run}.lr_used'])


def test_moby_published_run(golden):
    expect = golden('moby_schedules_a').expect
    for short in (f'{SWIN}8xb64-amp-coslr-300e', DEIT, f'{BN}8xb64-amp-coslr-300e'):
        value = schedule(short, 2502)
        follows(lambda t, value=value: value(t + 1), expect['full.t'], expect['full.lr_schedule'])
        momentum = partial(network(find(short)).momentum.value_at, total=750_600, per_epoch=2502)
        follows(momentum, expect['full.k'], expect['full.momentum'])


def test_moco_learning_rates(golden):
    expect = golden('mocov2_schedules_a').expect
    for short, name in ((f'{MOCOV2}200e', 'v2_cos'), (MOCOV1, 'v1_step')):
        value = schedule(short, 7)
        for offset in (0, 6):  # once per epoch
            follows(value, range(offset, 1400, 7), expect[f'{name}.lr'])
    for step in (0, 5599):
        assert network(find(f'{MOCOV2}800e')).momentum.value_at(step, 5600, 7) == 0.999
    assert schedule(f'{MOCOV2}800e', 7)(2800) == pytest.approx(0.015)


SWAV_RUNS = {'bs4096_like': (f'{BIG}100e', PAIR, W2, W4), 'bs256_like': (f'{SMALL}200e', OPENMMLAB)}


@pytest.mark.parametrize('run', SWAV_RUNS)
def test_swav_learning_rate(golden, run):
    case = golden('swav_schedules_a')
    c = case.case['configs'][run]
    for short in SWAV_RUNS[run]:
        value = schedule(short, c['iters_per_epoch'], 1.0, c['epochs'], warmup=c['warmup_epochs'])
        follows(value, range(70), case.expect[f'{run}.lr'])


@pytest.mark.parametrize(
    ('short', 'case', 'name', 'per_epoch', 'changes'),
    [
        (f'mocov2/{STEPS}', 'mocov2_schedules_a', 'lincls.lr', 1, {}),
        (f'{MOCOV3}vit-small-p16_8xb128-linear', 'mocov3_schedules_a', 'lincls.lr', 1, {}),
        (f'{MOBY}swin-tiny_8xb64', 'moby_schedules_a', 'linear_probe.lr_used', 7,
         dict(warmup=2, end=10)),
    ],
)  # fmt: skip
def test_rates_over_training_are_the_recorded_ones(golden, short, case, name, per_epoch, changes):
    cfg, recorded = load(find(short)), golden(case).expect[name].numpy()
    rate = cfg.optim_wrapper.optimizer.lr
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=rate)
    schedule = {k: v for k, v in cfg.param_scheduler[0].items() if k != 'type'}
    schedule = dict(schedule, per_epoch=per_epoch, end=cfg.train_cfg.max_epochs) | changes
    scheduler = ScheduleParam(optimizer, **schedule)
    found = np.array([scheduler.value(step) for step in range(len(recorded))])
    np.testing.assert_allclose(found, recorded, rtol=1e-12, atol=1e-18)


def test_scaling_moves_all_of_a_schedule():
    for short, steps in ((f'{SWIN}8xb64-amp-coslr-300e', 2100), (f'{BIG}100e', 700)):
        plain, double = schedule(short, 7), schedule(short, 7, ratio=2.0)
        assert all(double(i) == pytest.approx(2 * plain(i), rel=1e-12) for i in range(steps))


@pytest.mark.parametrize('size', ['small', 'base'])
def test_deit_sets_the_rate_of_an_epoch_after_the_one_before(size):
    """DeiT's loop with timm's scheduler: made before epoch 0, stepped with e after epoch e."""
    cfg = load(find(f'mocov3/benchmarks/vit-{size}-p16_8xb64-amp'))
    epochs = cfg.train_cfg.max_epochs
    rate = cfg.optim_wrapper.optimizer.lr
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], rate)
    official = CosineLRScheduler(
        optimizer, t_initial=epochs, lr_min=1e-5, warmup_lr_init=1e-6, warmup_t=5
    )
    expected = []
    for epoch in range(epochs):
        expected.append(optimizer.param_groups[0]['lr'])
        official.step(epoch)
    value = schedule(f'mocov3/benchmarks/vit-{size}-p16_8xb64-amp', 3)
    for offset in (0, 2):
        follows(value, range(offset, 3 * epochs, 3), torch.tensor(expected, dtype=torch.float64))


IBOT_FINETUNING = {
    'vit-small-p16_8xb128-amp-coslr-200e': (20, 200),
    'vit-base-p16_8xb128-amp-coslr-100e': (20, 100),
    'vit-large-p16_16xb64-amp-coslr-50e': (5, 50),
}


@pytest.mark.parametrize('short', IBOT_FINETUNING)
def test_ibots_finetuning_begins_at_zero(short):
    """numpy's linspace from 0 to the rate, then a cosine over what is left."""
    warmup, epochs = IBOT_FINETUNING[short]
    value = schedule(f'ibot/benchmarks/{short}', 7)
    rise = np.linspace(0, 4e-3, warmup * 7)
    rest = np.arange((epochs - warmup) * 7)
    fall = 1e-6 + 0.5 * (4e-3 - 1e-6) * (1 + np.cos(np.pi * rest / len(rest)))
    follows(value, range(epochs * 7), torch.from_numpy(np.concatenate([rise, fall])))
