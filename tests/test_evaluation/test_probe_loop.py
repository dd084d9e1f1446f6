"""The cached probe as a loop: chosen on training images, tested once on the test images."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from mmssl.apis import load_config
from mmssl.core.errors import NoData
from mmssl.engine import Runner
from mmssl.evaluation import probe

from ..helpers.paths import REPO
from ..helpers.refusals import refuses

NET = dict(type='ResNet', depth=18, layers=(1, 1), width=4, small_stem=True)
BASE = REPO / 'configs' / '_base_' / 'probe.py'


@pytest.fixture
def build(image_folder, tmp_path):
    """Return a function from options to a runner over the tiny images."""

    def make(**options):
        view = [dict(type='LoadImage'), dict(type='CenterView', size=16, resize=16)]
        loader = dict(batch_size=4, num_workers=0, pin_memory=False)
        settings = {
            'pretrained': 'random',
            'model.backbone': NET,
            'data_root': str(image_folder),
            'work_dir': str(tmp_path / 'work'),
            'test_cfg.probe': dict(rates=(0.01, 0.1, 1.0), decays=(0.0, 0.1), held_out=0.25),
            'test_dataloader.dataset.pipeline': view,
            **{f'test_dataloader.{k}': v for k, v in loader.items()},
        }
        torch.manual_seed(0)
        return Runner.from_cfg(load_config(BASE, settings | options))

    return make


def test_the_figure_is_the_one_of_its_parts(build):
    runner = build()
    found = runner.test()
    loop = runner.test_loop
    bank, query = loop._features()
    assert (len(bank.labels), len(query.labels)) == (24, 9)
    # by hand: choose on the held-out quarter, train on all, score once
    scale = probe.Scale.of(bank.features)
    x = scale(bank.features)
    kept, held = probe.split(bank.labels, 0.25, runner.seed)
    assert bank.labels[held].tolist().count(0) == 2
    grid = [(r, d) for r in (0.01, 0.1, 1.0) for d in (0.0, 0.1)]
    layers = probe.train(x[kept], bank.labels[kept], 3, grid, loop.recipe, runner.seed)
    percent, loss = probe.score(layers, x[held], bank.labels[held])
    order = sorted(range(6), key=lambda i: (-float(percent[i]), float(loss[i])))
    rate, decay = grid[order[0]]
    assert (found['probe/rate'], found['probe/decay']) == (rate, decay)
    assert found['probe/held_out_top1'] == pytest.approx(float(percent[order[0]]))
    final = probe.train(x, bank.labels, 3, [(rate, decay)], loop.recipe, runner.seed)
    logits = final.logits(scale(query.features))[:, 0]
    hits = int((logits.argmax(1) == query.labels).sum())
    assert found['probe/top1'] == pytest.approx(100 * hits / 9)
    assert found['probe/top1_low'] < found['probe/top1'] <= found['probe/top1_high']
    assert [p['pred_label'] for p in runner.step_status.predictions] == logits.argmax(1).tolist()


def test_the_test_images_do_not_choose(build):
    """Other labels of the test images change its figure, and nothing of the choice."""
    one, other = build(), build()
    a = one.test()
    bank, query = one.test_loop._features()
    other.test_loop._features = lambda: (bank, query._replace(labels=(query.labels + 1) % 3))
    b = other.test()
    for key in ('probe/rate', 'probe/decay', 'probe/held_out_top1'):
        assert a[key] == b[key]
    assert a['probe/top1'] != b['probe/top1']


def test_it_reaches_scikit_learns_accuracy(build):
    runner = build(**{'test_cfg.probe': dict(rates=(0.1,), decays=(0.01,), epochs=1500)})
    found = runner.test()
    bank, query = runner.test_loop._features()
    scale = probe.Scale.of(bank.features)
    theirs = LogisticRegression(C=1 / (0.01 * 24), max_iter=5000)
    theirs.fit(scale(bank.features).numpy(), bank.labels.numpy())
    guess = theirs.predict(scale(query.features).numpy())
    assert found['probe/top1'] == pytest.approx(100 * np.mean(guess == query.labels.numpy()))


@pytest.mark.parametrize(('key', 'file'), [('features', None), ('file', 'a.pth')])
def test_features_that_are_not_finite_are_refused(build, key, file):
    runner = build()
    runner.model.backbone.weights_from = file
    runner.model.backbone.net.conv1.weight.data.fill_(float('nan'))
    with refuses(key, file) as caught:
        runner.test()
    assert '24 of 24 images' in str(caught.value)


def test_sets_that_do_not_fit_are_refused(build):
    with refuses('labels', None, NoData) as caught:
        build(**{'test_cfg.bank': dict(split='train', with_label=False)}).test()
    assert 'training images' in str(caught.value)
    runner = build(**{'test_cfg.feature': dict(blocks=9)})
    with refuses('feature.blocks', 9) as caught:
        runner.test()
    assert '2 blocks' in str(caught.value)


def test_a_probe_that_diverges_is_said(build, monkeypatch):
    rng = torch.Generator().manual_seed(0)
    x, labels = torch.randn(60, 4, generator=rng), torch.arange(60) % 3
    for rate, said in ((1e-3, 0), (1e9, 1)):
        loop = build(**{'test_cfg.probe': dict(rates=(rate,), decays=(0.0,), held_out=0.25)})
        loop = loop.test_loop
        lines = []
        monkeypatch.setattr(loop.runner.logger, 'warning', lines.append)
        loop.classes = 3
        loop.choose(x, labels)
        assert len([line for line in lines if 'diverges' in line and 'ln 3' in line]) == said
