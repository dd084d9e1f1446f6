"""Schedules on the optimizer's groups, alone and through the runner."""

import math

import pytest
import torch
from torch import nn

from mmssl.engine import ScheduleParam

from ..helpers.refusals import refuses
from ..helpers.tiny import PER_EPOCH, Watch, log, make_runner, scalars


def optimizer():
    a, b, c = (nn.Parameter(torch.ones(1)) for _ in range(3))
    groups = [
        dict(params=[a]),
        dict(params=[b], decay_mult=0.0, weight_decay=0.0),
        dict(params=[c], lr_mult=0.5, decay_mult=2.0),
    ]
    return torch.optim.AdamW(groups, lr=0.8, weight_decay=0.04)


def values(made, scheduler, name, steps):
    table = []
    for _ in range(steps):
        table.append([group[name] for group in made.param_groups])
        made.step()
        scheduler.step()
    return table


def cosine(start, final, step, total):
    return final + 0.5 * (start - final) * (1 + math.cos(math.pi * step / total))


def test_multipliers_scale_the_curve():
    made = optimizer()
    scheduler = ScheduleParam(made, 'lr', per_epoch=4, end=3, final=0.0)
    for i, row in enumerate(values(made, scheduler, 'lr', 12)):
        base = cosine(0.8, 0, i, 12)
        assert row == pytest.approx([base, base, 0.5 * base], rel=1e-14)


def test_a_group_without_decay_stays_without():
    made = optimizer()
    scheduler = ScheduleParam(made, 'weight_decay', per_epoch=4, end=3, final=0.4)
    for i, row in enumerate(values(made, scheduler, 'weight_decay', 12)):
        base = cosine(0.04, 0.4, i, 12)
        assert row == pytest.approx([base, 0.0, 2 * base], rel=1e-14)


def test_scaling_reaches_the_arguments_that_are_named():
    """MoBY's minimum and warm-up start follow the batch, EsViT's minimum does not."""
    for scale, final, low in ((('final', 'warmup_start'), 0.02, 0.2), ((), 0.01, 0.1)):
        made = optimizer()
        scheduler = ScheduleParam(
            made, 'lr', 4, 3, ratio=2.0, scale=scale, final=0.01, warmup=1, warmup_start=0.1
        )
        assert scheduler.value(0) == pytest.approx(low)
        assert scheduler.value(12) == pytest.approx(final)
    decay = ScheduleParam(optimizer(), 'weight_decay', 4, 3, 2.0, ('final',), final=0.4)
    assert decay.value(12) == pytest.approx(0.4)


def test_seeking_is_stepping():
    made, other = optimizer(), optimizer()
    walked = ScheduleParam(made, 'lr', 4, 3, final=0.0, warmup=1)
    jumped = ScheduleParam(other, 'lr', 4, 3, final=0.0, warmup=1)
    values(made, walked, 'lr', 7)
    jumped.load_state_dict(walked.state_dict())
    assert walked.state_dict() == dict(last_step=7)
    assert [g['lr'] for g in other.param_groups] == [g['lr'] for g in made.param_groups]
    assert made.param_groups[0]['lr'] == pytest.approx(cosine(0.8, 0, 3, 8), rel=1e-14)


def test_a_warm_up_longer_than_training_is_refused():
    with refuses('param_scheduler.lr.warmup', 4):
        ScheduleParam(optimizer(), 'lr', 4, 3, final=0.0, warmup=4)


# through the runner -------------------------------------------------------------------------------
def lr_of(step, base, warm=1, epochs=3):
    rise, total = warm * PER_EPOCH, epochs * PER_EPOCH
    return base * step / rise if step < rise else cosine(base, 0.0, step - rise, total - rise)


@pytest.fixture(scope='module')
def run(tiny_config, tmp_path_factory):
    """One run with rules and two schedulers; what the optimizer used at each iteration."""
    work_dir = tmp_path_factory.mktemp('schedules')
    runner = make_runner(
        tiny_config(),
        work_dir,
        optim_wrapper__paramwise_cfg=dict(
            rules=[dict(ndim=1, decay_mult=0.0), dict(match='predictor', lr_mult=0.1)]
        ),
        param_scheduler=[
            dict(type='ScheduleParam', param_name='lr', final=0.0, warmup=1),
            dict(type='ScheduleParam', param_name='weight_decay', final=0.4),
        ],
        val_cfg=None,
        val_dataloader=None,
        val_evaluator=None,
    )
    used = []

    def look(runner, _):
        groups = runner.optim_wrapper.optimizer.param_groups
        used.append([(g['lr'], g['weight_decay'], g['lr_mult'], g['decay_mult']) for g in groups])

    hook = Watch(look)
    hook.priority = 'VERY_HIGH'  # before the schedulers take the next value
    runner.register_hook(hook)
    runner.train()
    return used, work_dir


def test_every_iteration_uses_the_closed_form(run):
    used, _ = run
    assert len(used) == 3 * PER_EPOCH
    assert sorted({(row[2], row[3]) for row in used[0]}) == [
        (0.1, 0.0), (0.1, 1.0), (1.0, 0.0), (1.0, 1.0)
    ]  # fmt: skip
    for i, groups in enumerate(used):
        for lr, decay, lr_mult, decay_mult in groups:
            assert lr == pytest.approx(lr_mult * lr_of(i, 1e-2), rel=1e-13, abs=1e-18)
            expected = decay_mult * cosine(0.05, 0.4, i, 12)
            assert decay == pytest.approx(expected, rel=1e-13, abs=0)


def test_the_log_shows_what_was_used(run):
    lines = [line for line in scalars(run[1]) if 'lr' in line]
    assert [line['step'] for line in lines] == list(range(1, 13))
    for i, line in enumerate(lines):
        assert line['lr'] == pytest.approx(lr_of(i, 1e-2), rel=1e-6, abs=1e-12)


def test_scaling_with_the_batch_prints_both_values(tiny_config, tmp_path):
    runner = make_runner(
        tiny_config(),
        tmp_path,
        auto_scale_lr=dict(enable=True, base_batch_size=24),
        train_cfg__max_epochs=2,
    )
    runner.train()
    assert 'learning rate scaled from 0.01 (batch 24) to 0.0025 (batch 6)' in log(tmp_path)
    lines = [line for line in scalars(tmp_path) if 'lr' in line]
    for i, line in enumerate(lines):
        assert line['lr'] == pytest.approx(lr_of(i, 0.0025, epochs=2), rel=1e-6, abs=1e-12)
    assert len(lines) == 8


def test_nothing_is_scaled_unless_asked(tiny_config, tmp_path):
    runner = make_runner(
        tiny_config(), tmp_path, auto_scale_lr=dict(base_batch_size=24), train_cfg__max_epochs=1
    )
    runner.train()
    assert 'learning rate scaled' not in log(tmp_path)
    assert [s['lr'] for s in scalars(tmp_path) if 'lr' in s][1] == pytest.approx(0.0025)


def test_scaling_reaches_named_arguments_and_rates_without_a_schedule(tiny_config, tmp_path):
    asked = dict(auto_scale_lr=dict(enable=True, base_batch_size=24), train_cfg__max_epochs=1)
    schedule = dict(type='ScheduleParam', param_name='lr', final=4e-3, shape='linear')
    for scale, final in ((('final',), 1e-3), ((), 4e-3)):
        work_dir = tmp_path / f'scaled {len(scale)}'
        options = dict(asked, param_scheduler=[dict(schedule, scale=scale)])
        make_runner(tiny_config(), work_dir, **options).train()
        used = [line['lr'] for line in scalars(work_dir) if 'lr' in line]
        expected = [final + (2.5e-3 - final) * (1 - i / PER_EPOCH) for i in range(PER_EPOCH)]
        assert used == pytest.approx(expected, rel=1e-6)
    options = dict(asked, param_scheduler=None)
    make_runner(tiny_config(), tmp_path / 'constant', **options).train()
    used = [line['lr'] for line in scalars(tmp_path / 'constant') if 'lr' in line]
    assert used == pytest.approx([2.5e-3] * PER_EPOCH)


def test_scaling_counts_accumulated_batches_and_needs_a_base(tiny_config, tmp_path):
    runner = make_runner(
        tiny_config(),
        tmp_path / 'a',
        auto_scale_lr=dict(enable=True, base_batch_size=24),
        optim_wrapper__accumulative_counts=2,
        train_cfg__max_epochs=1,
    )
    runner.train()
    assert 'to 0.005 (batch 12)' in log(tmp_path / 'a')
    runner = make_runner(tiny_config(), tmp_path / 'b', auto_scale_lr=dict(enable=True))
    with refuses('auto_scale_lr.base_batch_size'):
        runner.train()
