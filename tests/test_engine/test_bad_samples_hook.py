"""Bad samples in training and evaluation are logged once, and too many of them stop the run."""

import os
import re
from types import SimpleNamespace

import torch

from mmssl.core import UserError, dist
from mmssl.engine.hooks.bad_samples_hook import FILE, BadSamplesHook
from mmssl.evaluation.feature_extraction import extract
from mmssl.evaluation.knn import accuracy, knn
from mmssl.evaluation.metrics.accuracy import Accuracy

from ..helpers.packed import copy
from ..helpers.refusals import refuses
from ..helpers.tiny import log, losses, make_runner


def test_a_run_goes_on_and_says_it_once(image_folder, tmp_path, tiny_config):
    root = copy(image_folder, tmp_path / 'a')
    options = dict(data_root=str(root), default_hooks__bad_samples__share=0.05)
    options |= dict(train_dataloader__num_workers=2, default_hooks__checkpoint__interval=1)
    assert len(losses(make_runner(tiny_config(), tmp_path / 'w', **options))) == 12
    text = log(tmp_path / 'w')
    told = re.findall(r'unreadable image, another took its place: (\S+): ', text)
    assert told == [f'{root}/train/red/3.png']
    assert (tmp_path / 'w' / FILE).read_text().startswith(f'{root}/train/red/3.png: ')
    # a resumed run knows it already
    more = make_runner(
        tiny_config(), tmp_path / 'w', resume=True, **options, train_cfg__max_epochs=4
    )
    losses(more)
    assert log(tmp_path / 'w').count('another took its place') == 1


def test_a_name_that_is_not_utf8_is_listed_escaped(image_folder, tmp_path, tiny_config):
    root = copy(image_folder, tmp_path / 'a')
    (root / 'train/red/3.png').rename(root / 'train/red' / os.fsdecode(b'\xff\xfe.png'))
    options = dict(data_root=str(root), default_hooks__bad_samples__share=0.05)
    runner = make_runner(tiny_config(), tmp_path / 'w', **options)
    assert len(losses(runner)) == 12
    lines = (tmp_path / 'w' / FILE).read_text('utf-8').splitlines()
    assert [line.partition(': ')[0] for line in lines] == [f'{root}/train/red/' + r'\xff\xfe.png']
    assert log(tmp_path / 'w').count(f'another took its place: {lines[0]}') == 1


def test_what_was_known_before_resuming_does_not_stop_a_sound_run(tmp_path):
    (tmp_path / FILE).write_text(''.join(f'{i}.png: gone\n' for i in range(9)))
    loader = SimpleNamespace(dataset=range(1000), batch_size=10)
    hook = BadSamplesHook()
    hook.before_train(SimpleNamespace(train_dataloader=loader, work_dir=tmp_path, iter=90))
    assert (len(hook.bad_samples.files), hook.bad_samples.seen) == (9, 900)
    hook.bad_samples.check()
    assert hook.bad_samples.add(['3.png: gone', 'new.png: gone']) == ['new.png: gone']


def test_too_many_stop_the_run_with_the_list(image_folder, tmp_path, tiny_config):
    root = copy(image_folder, tmp_path / 'a', ['red/3.png', 'red/4.png'])
    runner = make_runner(
        tiny_config(), tmp_path / 'w', data_root=str(root), default_hooks__bad_samples__share=0.05
    )
    with refuses('default_hooks.bad_samples.share', 0.05) as caught:
        losses(runner)
    assert set(re.findall(r'red/\d\.png', str(caught.value))) == {'red/3.png', 'red/4.png'}


def test_images_the_monitor_cannot_read_are_left_out(image_folder, tmp_path, tiny_config):
    root = copy(image_folder, tmp_path / 'a', [])
    (root / 'val/red/1.png').write_bytes(b'')
    runner = make_runner(tiny_config(), tmp_path / 'w', data_root=str(root))
    with refuses('default_hooks.bad_samples.share', 0.01) as caught:
        runner.val_loop.measure()
    assert 'val/red/1.png: empty' in str(caught.value)
    runner.step_status.bad_samples_share = 0.2
    bank, query = (
        extract(runner.model, part, share=0.2)
        for part in (runner.val_loop.bank, runner.val_loop.dataloader)
    )
    assert query.indices.tolist() == [0, 1, 2, 3, 4, 5, 6, 8]
    assert query.labels.tolist() == [0] * 3 + [1] * 3 + [2] * 2
    votes = knn(bank.features, bank.labels, query.features, 5, 0.07, 3)
    assert runner.val_loop.measure()['knn/top1_k5'] == accuracy(votes, query.labels)
    paths = [record['path'] for record in runner.step_status.predictions]
    assert len(paths) == 8
    assert f'{root}/val/red/1.png' not in paths


def test_accuracy_leaves_out_what_was_replaced():
    metric = Accuracy(topk=(1,))
    samples = dict(label=torch.tensor([0, 1, 0]), unreadable=['', 'a.png: gone', ''])
    scores = [torch.tensor(s) for s in ([0.9, 0.1], [0.9, 0.1], [0.2, 0.8])]
    metric.process(dict(data_samples=samples), [dict(pred_scores=s) for s in scores])
    assert metric.evaluate(3) == {'accuracy/top1': 50.0}


def test_an_evaluation_names_its_bad_images_and_has_a_limit():
    said = []
    runner = SimpleNamespace(logger=SimpleNamespace(warning=said.append))
    hook = BadSamplesHook(share=0.5)
    hook.before_test_epoch(runner)
    for faults in (['', 'a.png: gone'], ['', '']):
        hook.after_test_iter(runner, 0, dict(data_samples=dict(unreadable=faults)))
    hook.after_test_epoch(runner)
    assert said == ['unreadable image, not counted: a.png: gone']
    hook = BadSamplesHook()
    hook.before_val_epoch(runner)
    hook.after_val_iter(runner, 0, dict(data_samples=dict(unreadable=['', 'a.png: gone'])))
    with refuses('default_hooks.bad_samples.share', 0.01):
        hook.after_val_epoch(runner)


def _two(path, root, folder, share):
    options = dict(data_root=root, train_dataloader__batch_size=3, launcher='pytorch')
    runner = make_runner(path, folder, default_hooks__bad_samples__share=share, **options)
    try:
        losses(runner)
    except UserError as error:
        return str(error), dist.rank()
    return 'done', dist.rank()


def test_two_ranks_stop_together(image_folder, tmp_path, tiny_config, two_ranks):
    root = copy(image_folder, tmp_path / 'a')
    answers = two_ranks(_two, tiny_config(), str(root), tmp_path / 'w', 0.0)
    assert answers[0][0] == answers[1][0]
    assert answers[0][0].startswith('1 unreadable images among the 24 first read of 24')
    assert two_ranks(_two, tiny_config(), str(root), tmp_path / 'v', 0.05) == [
        ('done', 0),
        ('done', 1),
    ]
