"""Whole tiny runs: start, order of updates, and end."""

import math
import re
import sys

import numpy as np
import pytest
import torch
from mmengine.hooks import Hook
from torch.testing import assert_close

from mmssl.engine import Runner

from ..helpers.refusals import refuses
from ..helpers.tiny import PER_EPOCH, Watch, log, losses, make_runner, scalars, weights


class AtStart(Hook):
    """Keep the model's state when training begins."""

    def before_train(self, runner):
        self.state = weights(runner)


def started(runner):
    hook = AtStart()
    runner.register_hook(hook)
    runner.train()
    return hook.state


def branches(state):
    """State of student and teacher under common names."""
    return (
        {n.removeprefix(branch): v for n, v in state.items() if n.startswith(branch)}
        for branch in ('student.', 'teacher.')
    )


def same(a, b):
    assert list(a) == list(b)
    return all(torch.equal(a[name], b[name]) for name in a)


ONE = dict(train_cfg__max_epochs=1, val_cfg=None, val_dataloader=None, val_evaluator=None)


@pytest.mark.parametrize('backbone', ['vit', 'resnet'])
def test_teacher_equals_student_when_training_begins(tiny_config, tmp_path, backbone):
    student, teacher = branches(started(make_runner(tiny_config(backbone), tmp_path, **ONE)))
    assert len(student) > 20
    assert same(student, teacher)


def test_the_seed_decides_the_initial_weights(tiny_config, tmp_path):
    states = [
        started(make_runner(tiny_config(), tmp_path / str(i), **ONE, randomness=dict(seed=seed)))
        for i, seed in enumerate((3, 3, 4))
    ]
    assert same(states[0], states[1])
    assert not same(states[0], states[2])


@pytest.mark.parametrize('place', ['load_from', 'init_cfg'])
def test_a_loaded_backbone_is_both_students_and_teachers(tiny_config, tmp_path, place):
    """From a file that holds one backbone, as downstream users export it."""
    source = make_runner(tiny_config(), tmp_path / 'a', **ONE, randomness=dict(seed=5)).model
    prefix = 'student.backbone.'
    backbone = {
        n.removeprefix('student.'): v + 0.5
        for n, v in source.state_dict().items()
        if n.startswith(prefix)
    }
    path = str(tmp_path / 'backbone.pth')
    torch.save({'state_dict': backbone}, path)
    where = (
        dict(load_from=path)
        if place == 'load_from'
        else dict(model__backbone__init_cfg=dict(type='Pretrained', checkpoint=path))
    )
    student, teacher = branches(started(make_runner(tiny_config(), tmp_path / 'b', **ONE, **where)))
    for name, value in backbone.items():
        assert torch.equal(student[name], value), name
    assert same(student, teacher)


def test_loading_a_pretraining_file_keeps_its_two_sides(tiny_config, tmp_path):
    first = make_runner(tiny_config(), tmp_path / 'a', **ONE)
    first.train()
    path = str(tmp_path / 'a' / 'epoch_1.pth')
    state = started(make_runner(tiny_config(), tmp_path / 'b', **ONE, load_from=path))
    assert same(state, weights(first))
    student, teacher = branches(state)
    assert not same(student, teacher)


def test_the_frozen_patch_projection_never_moves(tiny_config, tmp_path):
    runner = make_runner(tiny_config(), tmp_path, **ONE)
    before, after = started(runner), weights(runner)
    name = 'backbone.net.patch_embed.proj.weight'
    assert torch.equal(before[f'student.{name}'], after[f'student.{name}'])
    assert_close(before[f'teacher.{name}'], after[f'teacher.{name}'], rtol=1e-6, atol=0)
    moved = 'student.backbone.net.blocks.0.attn.qkv.weight'
    assert not torch.equal(before[moved], after[moved])


def test_the_loss_starts_near_its_uniform_value(tiny_config, tmp_path):
    """Two directions of 2 T ln(batch); random networks are near it, not on it."""
    runner = make_runner(tiny_config(), tmp_path, **ONE)
    first = losses(runner)[0]
    uniform = 2 * 2 * 0.2 * math.log(6)
    assert runner.model.uniform_loss(6) == pytest.approx(uniform, rel=1e-12)
    assert first == pytest.approx(uniform, rel=0.5)


@pytest.mark.parametrize('hooks', [[], None, [dict(type='EMAHook')]])
def test_a_replaced_list_of_hooks_leaves_the_method_whole(tiny_config, tmp_path, hooks):
    """Teacher, queue and clock: MoCo's run is the same whatever stands in custom_hooks."""
    options = dict(
        **ONE,
        model__type='MoCo',
        model__queue_length=14,
        model__head=dict(_delete_=True, type='ContrastiveHead', temperature=0.2),
    )
    usual = make_runner(tiny_config(), tmp_path / 'a', **options)
    start = started(usual)
    expected = weights(usual)
    runner = make_runner(tiny_config(), tmp_path / 'b', **options, custom_hooks=hooks)
    runner.train()
    assert same(weights(runner), expected)
    assert int(expected['queue.pointer']) == 24 % 14
    name = 'teacher.backbone.net.cls_token'
    assert not torch.equal(expected[name], start[name])


# views and samplers -------------------------------------------------------------------------------
class Batches(Hook):
    """Keep the images and views of every iteration."""

    def __init__(self):
        self.seen = []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        views = torch.stack(data_batch['inputs'], 1)  # (B, V, 3, H, W)
        indices = data_batch['data_samples']['index'].tolist()
        self.seen += [(runner.epoch, i, v.clone()) for i, v in zip(indices, views, strict=True)]


SAMPLERS = {
    'ours': dict(),
    'mmengine': dict(
        train_dataloader__sampler=dict(_delete_=True, type='DefaultSampler', shuffle=True)
    ),
    'shuffle=True': dict(train_dataloader__sampler=None, train_dataloader__shuffle=True),
}


@pytest.mark.parametrize('sampler', SAMPLERS)
def test_views_change_by_epoch_whatever_the_sampler(tiny_config, tmp_path, sampler):
    """Workers that outlive an epoch learn of the next one; the views are those of its numbers."""
    workers = dict(train_dataloader__num_workers=2, train_dataloader__persistent_workers=True)
    options = ONE | workers | SAMPLERS[sampler] | dict(train_cfg__max_epochs=3)
    runner = make_runner(tiny_config(), tmp_path, **options)
    hook = Batches()
    runner.register_hook(hook)
    runner.train()
    assert sorted((epoch, i) for epoch, i, _ in hook.seen) == [
        (epoch, i) for epoch in range(3) for i in range(24)
    ]
    dataset = runner.train_dataloader.dataset
    for epoch, i, views in hook.seen:
        assert torch.equal(views, torch.stack(dataset[epoch, i]['inputs']))


# when the teacher moves ---------------------------------------------------------------------------
TOY = dict(
    model__head=None,
    model__neck=dict(dims=(16, 8), bias=True, last_norm=False),
    optim_wrapper__optimizer=dict(type='SGD', lr=0.1, weight_decay=0.0),
    param_scheduler=None,
)


def follow(tiny_config, work_dir, method, counts):
    """Student and teacher class tokens before training and after every iteration."""
    runner = make_runner(
        tiny_config(),
        work_dir,
        **ONE,
        **TOY,
        model__type=method,
        optim_wrapper__accumulative_counts=counts,
    )
    name = 'backbone.net.cls_token'
    rows = []

    def look(runner, _):
        state = runner.model.state_dict()
        rows.append(tuple(state[f'{branch}.{name}'].clone() for branch in ('student', 'teacher')))

    runner.register_hook(Watch(look))
    start = started(runner)
    return [tuple(start[f'{branch}.{name}'] for branch in ('student', 'teacher')), *rows]


@pytest.mark.parametrize('method', ['Lead', 'Chase'])
@pytest.mark.parametrize('counts', [1, 2])
def test_the_teacher_moves_once_per_update_at_its_moment(tiny_config, tmp_path, method, counts):
    rows = follow(tiny_config, tmp_path, method, counts)
    assert len(rows) == 1 + PER_EPOCH
    teacher = rows[0][1]
    for i in range(PER_EPOCH):
        (before, _), (after, found) = rows[i], rows[i + 1]
        updated = (i + 1) % counts == 0
        assert torch.equal(before, after) != updated
        share = 1 - 0.5 * (1 + math.cos(math.pi * i / PER_EPOCH)) * 0.1
        if method == 'Lead' and i % counts == 0:
            teacher = share * teacher + (1 - share) * before
        if method == 'Chase' and updated:
            teacher = share * teacher + (1 - share) * after
        assert_close(found, teacher, rtol=1e-5, atol=1e-9, msg=f'iteration {i}')


def test_accumulated_batches_are_one_batch(tiny_config, tmp_path):
    """For a loss that is a mean over images, with nothing that sees the whole batch."""
    settings = dict(**ONE, **TOY, model__type='Lead')
    parts = make_runner(
        tiny_config(),
        tmp_path / 'a',
        **settings,
        train_dataloader__batch_size=4,
        optim_wrapper__accumulative_counts=3,
    )
    whole = make_runner(tiny_config(), tmp_path / 'b', **settings, train_dataloader__batch_size=12)
    parts.train()
    whole.train()
    a, b = weights(parts), weights(whole)
    for name in a:
        if name.startswith('student.'):  # the teacher's momentum is that of another iteration
            assert_close(a[name], b[name], rtol=1e-5, atol=1e-6, msg=name)


# monitors and loaders -----------------------------------------------------------------------------
def test_a_look_before_training(tiny_config, tmp_path):
    runner = make_runner(
        tiny_config(), tmp_path, train_cfg=dict(max_epochs=2, val_interval=2, val_at_start=True)
    )
    runner.train()
    monitored = [line for line in scalars(tmp_path) if 'knn/top1' in line]
    assert [line['step'] for line in monitored] == [0, 2]


@pytest.mark.parametrize(
    ('data', 'reason'),
    [
        (dict(val_dataloader__dataset__split='nothing'), 'nothing: no such folder'),
        (dict(val_dataloader__dataset__with_label=False), 'have no labels'),
    ],
)
def test_without_labels_or_folder_the_monitor_turns_itself_off(tiny_config, tmp_path, data, reason):
    runner = make_runner(tiny_config(), tmp_path, train_cfg__max_epochs=1, **data)
    found = losses(runner)
    lines = [line for line in log(tmp_path).splitlines() if 'kNN monitor off' in line]
    assert len(lines) == 1
    assert reason in lines[0]
    assert len(found) == PER_EPOCH
    numbers = {key for line in scalars(tmp_path) for key in line}
    assert {'loss', 'embedding_std', 'rankme'} <= numbers  # the health line stays
    assert 'knn/top1' not in numbers
    # without labels the rank of the features is measured; without images nothing is
    assert ('health/rankme' in numbers) == ('have no labels' in reason)


@pytest.mark.parametrize('labels', [True, False])
def test_the_best_file_and_the_end_by_the_rank_of_features(tiny_config, tmp_path, labels):
    options = dict(
        train_cfg__max_epochs=6,
        val_dataloader__dataset__with_label=labels,
        default_hooks__checkpoint__save_best='health/rankme',
    )
    runner = make_runner(tiny_config(), tmp_path, **options)
    stop = dict(type='EarlyStoppingHook', monitor='health/rankme', rule='greater', patience=1,
                min_delta=0.3)  # fmt: skip
    runner.register_hook(stop, priority='LOWEST')
    seen = []

    class Features(Hook):
        def after_val_epoch(self, runner, metrics=None):
            dataset = runner.val_loop.dataloader.dataset
            views = torch.stack([dataset[i]['inputs'] for i in range(len(dataset))])
            model = runner.model.eval()
            x = model.encode(model.data_preprocessor.normalize(views)).pooled
            shares = np.linalg.svd(x.detach().double().numpy(), compute_uv=False)
            shares = shares / shares.sum() + 1e-7
            seen.append(np.exp(-(shares * np.log(shares)).sum()))
            assert metrics['health/rankme'] == pytest.approx(seen[-1], rel=1e-5)

    runner.register_hook(Features())
    runner.train()
    assert 2 <= len(seen) <= 6
    best = torch.load(tmp_path / 'best.pth', weights_only=False)
    assert best['progress']['iter'] == PER_EPOCH * (1 + int(np.argmax(seen)))
    if len(seen) < 6:  # stopped: the last two gained less than asked
        gain = np.diff(seen)
        assert gain[-1] < 0.3


def test_too_few_images_for_a_batch(tiny_config, tmp_path):
    runner = make_runner(tiny_config(), tmp_path, **ONE, train_dataloader__batch_size=25)
    with refuses('train_dataloader.batch_size', 25) as caught:
        runner.train()
    assert re.findall(r'\d+', str(caught.value)) == ['24', '25', '1', '24']


def test_curves_of_the_model_must_fit_in_training(tiny_config, tmp_path):
    with refuses('model.momentum.warmup', 2):
        make_runner(tiny_config(), tmp_path, **ONE, model__momentum__warmup=2)
    runner = make_runner(tiny_config(), tmp_path, **ONE)
    runner.model.momentum.warmup = 2  # what no config check has seen
    with refuses('model.momentum.warmup', 2):
        runner.train()


def test_a_loader_that_is_built_is_used():
    loader = torch.utils.data.DataLoader(range(3))
    assert Runner.build_dataloader(loader) is loader


def test_of_many_processes_one_says_what_the_driver_lacks(tiny_config, tmp_path, monkeypatch):
    """They agree on it while they join; asked before, each of them would print the line."""
    asked = []

    def joining(*_, **__):
        raise ZeroDivisionError

    monkeypatch.setattr('mmssl.engine.runner.check_driver', lambda: asked.append('driver'))
    monkeypatch.setattr('mmssl.engine.runner.init_distributed', joining)
    make_runner(tiny_config(), tmp_path / 'a', **ONE)
    assert asked == ['driver']
    with pytest.raises(ZeroDivisionError):
        make_runner(tiny_config(), tmp_path / 'b', **ONE, launcher='pytorch')
    assert asked == ['driver']


def test_a_backend_whose_package_is_missing(tiny_config, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'wandb', None)  # as if it were not installed
    backends = [dict(type='WandbVisBackend')]
    with refuses('visualizer.vis_backends', 'wandb'):
        make_runner(tiny_config(), tmp_path, visualizer__vis_backends=backends)
