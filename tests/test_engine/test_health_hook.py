"""The health hook warns when something is wrong, and only then."""

import math
from types import SimpleNamespace

import pytest
import torch
from mmengine.logging import MessageHub
from torch import nn

from mmssl.engine import HealthHook
from mmssl.functional import embedding_stats

from ..helpers.tiny import Watch, log, losses, make_runner, scalars

QUIET = dict(val_cfg=None, val_dataloader=None, val_evaluator=None)
INTERVAL = dict(
    default_hooks__health__interval=4,
    default_hooks__checkpoint=None,
)


def measure(hook, runner, model, loss):
    """Measure and judge the embeddings of a model."""
    statistics = {name: value.item() for name, value in hook.statistics(model).items()}
    return hook.judge(runner, model, statistics, loss)


def spoken(work_dir):
    """Sentences of the health hook."""
    lines = [line for line in log(work_dir).splitlines() if 'health: ' in line]
    assert all('WARNING' in line for line in lines)
    return [line.split('health: ')[1] for line in lines]


def test_a_healthy_run_stays_quiet(tiny_config, tmp_path):
    runner = make_runner(tiny_config(), tmp_path, **QUIET, **INTERVAL, train_cfg__max_epochs=25)
    seen = losses(runner)
    assert sum(seen[-12:]) < sum(seen[:12])  # it learns
    assert spoken(tmp_path) == []
    spread = [line['embedding_std'] for line in scalars(tmp_path) if 'embedding_std' in line]
    assert len(spread) >= 25
    assert min(spread) > 0.5


def test_a_collapse_is_named(tiny_config, tmp_path):
    """Attraction without negatives, batch norm or predictor: all images become one point."""
    runner = make_runner(
        tiny_config(),
        tmp_path,
        **QUIET,
        **INTERVAL,
        train_cfg__max_epochs=25,
        model__type='Attract',
        model__head=None,
        model__neck=dict(bias=True, hidden_norm=False, last_norm=False),
    )
    seen = losses(runner)
    assert seen[-1] < 0.02  # the loss alone looks like success
    sentences = spoken(tmp_path)
    assert (
        sum('embeddings have collapsed: their standard deviation is 0.0' in s for s in sentences)
        == 1
    )
    # told once, although it stays so
    assert [line for line in scalars(tmp_path) if 'embedding_std' in line][-1][
        'embedding_std'
    ] < 0.1


@pytest.fixture(scope='module')
def dead(tiny_config, tmp_path_factory):
    """A run whose embeddings are all zero: projector and predictor end in zero weights."""
    work_dir = tmp_path_factory.mktemp('dead')
    runner = make_runner(
        tiny_config(),
        work_dir,
        **QUIET,
        **INTERVAL,
        train_cfg__max_epochs=6,
        optim_wrapper__optimizer__lr=0.0,
    )
    for branch in (runner.model.student, runner.model.teacher):
        nn.init.zeros_(branch.neck['project'][3].weight)
    runner.train()
    return runner, work_dir


def test_a_loss_stuck_at_its_uniform_value_is_named(dead):
    _, work_dir = dead
    sentences = spoken(work_dir)
    uniform = 2 * 2 * 0.2 * math.log(6)
    stuck = [s for s in sentences if 'the loss of a uniform prediction' in s]
    # five looks after the warm-up of one epoch: iterations 8, 12, 16, 20, 24
    assert len(stuck) == 1
    assert stuck[0].startswith(f'the loss has stayed at {uniform:.3f}')
    assert 'since iteration 8' in stuck[0]
    assert any('embeddings have collapsed' in s for s in sentences)
    assert len(sentences) == 2


def test_the_warm_up_is_not_counted(dead, tmp_path):
    runner, _ = dead
    hook = HealthHook(interval=4)
    runner.param_schedulers[0].schedule.warmup = 100
    measure(hook, runner, runner.model, runner.model.uniform_loss(6))
    assert hook.wrong_since['uniform'] == []
    runner.param_schedulers[0].schedule.warmup = 0
    measure(hook, runner, runner.model, runner.model.uniform_loss(6))
    assert len(hook.wrong_since['uniform']) == 1
    measure(hook, runner, runner.model, 1.006 * runner.model.uniform_loss(6))
    assert hook.wrong_since['uniform'] == []  # more than half a percent away


def test_a_sentence_comes_back_after_recovery(dead):
    runner, work_dir = dead
    hook, before = HealthHook(interval=4, patience=2, embedding_std=0.1), len(spoken(work_dir))
    good = torch.cat([torch.eye(8), -torch.eye(8)])
    # rows around one direction, a little further from it each time
    bad = [torch.ones(16, 8) + 0.02 * i * good for i in range(1, 4)]
    # a first look is not enough; the second speaks, the third adds nothing
    for rows in (bad[2], bad[0], bad[1], good, bad[1], bad[2]):
        runner.model.logged_embeddings = dict(student=rows, teacher=rows)
        measure(hook, runner, runner.model, 9.0)
    said = spoken(work_dir)[before:]
    shares = [embedding_stats.embedding_std(b).item() * math.sqrt(8) for b in bad]
    spreads = [f'their standard deviation is {share:.3f} of' for share in shares]
    assert [s in t for s, t in zip((spreads[0], spreads[2]), said, strict=True)] == [True, True]


def test_few_directions_are_named(dead):
    """Spread is fine when images fall on both ends of one axis; the rank tells."""
    runner, work_dir = dead
    hook, before = HealthHook(interval=4), len(spoken(work_dir))
    axis = torch.randn(1, 64)
    rows = torch.cat([axis.expand(32, -1), -axis.expand(32, -1)])
    runner.model.logged_embeddings = dict(student=rows, teacher=rows)
    for _ in range(hook.patience - 1):
        measure(hook, runner, runner.model, 9.0)
    assert len(spoken(work_dir)) == before
    numbers = measure(hook, runner, runner.model, 9.0)
    assert numbers['rankme'] == pytest.approx(1, rel=1e-3)
    assert numbers['embedding_std'] > 0.5
    (sentence,) = spoken(work_dir)[before:]
    assert sentence.startswith('embeddings use few directions: RankMe is 1.0 of at most 64')


def test_the_numbers_are_those_of_the_watched_embeddings(tiny_config, tmp_path):
    runner = make_runner(tiny_config(), tmp_path, **QUIET, **INTERVAL, train_cfg__max_epochs=2)
    expected = []

    def look(runner, _):
        if (runner.iter + 1) % 4 == 0:
            student, teacher = (
                runner.model.logged_embeddings[key] for key in ('student', 'teacher')
            )
            expected.append(
                dict(
                    embedding_std=embedding_stats.embedding_std(student).item() * math.sqrt(8),
                    rankme=embedding_stats.rankme(student).item(),
                    teacher_cosine=embedding_stats.teacher_cosine(student, teacher).item(),
                    uniform=0.8 * math.log(6),
                    momentum=1 - 0.05 * (1 + math.cos(math.pi * runner.iter / 8)),
                )
            )

    runner.register_hook(Watch(look))
    runner.train()
    lines = [line for line in scalars(tmp_path) if line.get('step') in (4, 8) and 'lr' in line]
    assert len(lines) == len(expected) == 2
    for line, numbers in zip(lines, expected, strict=True):
        for name, value in numbers.items():
            assert line[name] == pytest.approx(value, rel=1e-5, abs=1e-6), name


# models trained on labels ---------------------------------------------------------------------
def probe(tiny_config, tmp_path, rate, **options):
    """Return a runner that trains a classifier of three classes by SGD of this rate."""
    head = dict(type='LinearHead', num_classes=3)
    view = [dict(type='LoadImage'), dict(type='TrainView', size=16)]
    model = dict(
        _delete_=True,
        type='Classifier',
        frozen=True,
        head=head,
        backbone=dict(type='ResNet', depth=18, layers=(1, 1), width=4, small_stem=True),
    )
    return make_runner(
        tiny_config(),
        tmp_path,
        **{**QUIET, **options},
        default_hooks__checkpoint=None,
        model=model,
        train_dataloader__dataset__pipeline=view,
        optim_wrapper__optimizer=dict(_delete_=True, type='SGD', lr=rate, momentum=0.9),
        param_scheduler=[],
    )


@pytest.mark.parametrize('interval', [50, 1])
def test_a_probe_that_diverges_is_named_beside_ln_k(tiny_config, tmp_path, interval):
    runner = probe(tiny_config, tmp_path, 1e3, default_hooks__health__interval=interval)
    seen = losses(runner)
    assert sum(seen[-10:]) / 10 > 2 * math.log(3)
    (sentence,) = spoken(tmp_path)
    ends = 4 if interval == 50 else None
    if ends:
        assert f'{sum(seen[:ends]) / ends:.3g}, that of a uniform answer 1.1' in sentence
    lines = [line for line in scalars(tmp_path) if line.get('step') == 8]
    assert lines[0]['uniform'] == pytest.approx(math.log(3))


def test_a_probe_that_learns_stays_quiet(tiny_config, tmp_path):
    seen = losses(probe(tiny_config, tmp_path, 0.1))
    assert max(seen) < 2 * math.log(3)
    assert spoken(tmp_path) == []


class Answers(nn.Module):
    """A model of a loss that is ln 3 for a uniform answer."""

    def uniform_loss(self, batch):
        return math.log(3)


@pytest.mark.parametrize(
    ('losses_seen', 'said_at'),
    [
        ([8.0, *[0.5] * 19], []),  # above it in four measurements only
        ([9.0] * 20, [5]),  # the fifth measurement, once
        ([9.0] * 12 + [0.5] * 20 + [9.0] * 12, [5, 38]),  # again: two of ten are enough
    ],
)
def test_one_bad_batch_is_no_divergence(losses_seen, said_at):
    hub = MessageHub.get_instance(f'health {said_at}')
    said = []
    run = SimpleNamespace(
        model=Answers(),
        message_hub=hub,
        train_dataloader=SimpleNamespace(batch_size=2),
        logger=SimpleNamespace(warning=lambda text: said.append(run.iter + 1)),
    )
    hook = HealthHook(interval=1)
    hook.end_of_epoch = lambda *_: False
    for run.iter, loss in enumerate(losses_seen):
        hub.update_scalar('train/loss', loss)
        hook.before_train_iter(run, run.iter)
        hook.after_train_iter(run, run.iter)
    assert said == said_at
