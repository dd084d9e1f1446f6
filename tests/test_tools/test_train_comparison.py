"""Training configs over seeds for a comparison."""

import importlib

import pytest

from mmssl.apis import load_config

from ..helpers.paths import REPO
from ..helpers.refusals import refuses
from ..helpers.tiny import write_config


@pytest.fixture
def comparison(monkeypatch):
    monkeypatch.syspath_prepend(REPO / 'tools/dev')
    return importlib.import_module('train_comparison')


@pytest.fixture
def config(image_folder, tmp_path):
    """Return a tiny config whose name begins with method and network."""
    named = tmp_path / 'mocov3_vit_1xb6-2e_tiny.py'
    named.write_text(write_config(tmp_path, image_folder).read_text())
    return named


def test_trains_what_is_missing_and_only_that(comparison, config, tmp_path, monkeypatch, capsys):
    trained = []

    def train(run, options):
        trained.append((run.seed, options))
        if run.seed == 1 and len(trained) < 3:
            return 2
        run.folder.mkdir(parents=True)
        run.last.write_bytes(b'')
        return 0

    monkeypatch.setattr(comparison, 'train', train)
    words = ['--configs', str(config), '--seeds', '0', '1', '--work-dir', str(tmp_path / 'runs')]
    with refuses('runs', 'mocov3_vit seed 1'):
        comparison.main(words)
    (word,) = comparison.main(words)
    assert [seed for seed, _ in trained] == [0, 1, 1]
    name, _, files = word.partition('@')
    assert name == 'mocov3_vit'
    assert [path.rpartition('/')[2] for path in files.split(',')] == ['epoch_3.pth'] * 2
    assert ['/seed0-' in path for path in files.split(',')] == [True, False]
    assert comparison.main(words) == [word] and len(trained) == 3
    # other settings: other folders, new runs
    comparison.main([*words, '--cfg-options', 'optim_wrapper.optimizer.lr=0.5'])
    assert trained[3:] == [(seed, {'optim_wrapper.optimizer.lr': 0.5}) for seed in (0, 1)]
    assert '2 runs, 0 of them finished' in capsys.readouterr().out


def test_data_without_configs_is_refused(comparison):
    with refuses('--data', 'nothing'):
        comparison.parse(['--data', 'nothing'])


@pytest.mark.parametrize('data', ['shapes', 'cifar10', 'imagenette'])
def test_every_data_set_has_every_method_on_one_network(comparison, data):
    configs = [load_config(path) for path in comparison.parse(['--data', data]).configs]
    kinds = {
        # MoCo's first version differs from its second by the layers of its head
        (m.type, len(m.neck.dims))
        for m in (c.model for c in configs)
    }
    assert len(configs) == len(kinds) == 9
    keep = ('type', 'arch', 'img_size', 'patch_size', 'stem', 'positions')
    networks = {str([c.model.backbone[k] for k in keep]) for c in configs}
    seen = {(c.train_dataloader.batch_size, c.train_cfg.max_epochs) for c in configs}
    pairs = {str(c.train_dataloader.dataset.pipeline[1].views[:2]) for c in configs}
    crops = {str(c.train_dataloader.dataset.pipeline[1].views[2:]) for c in configs}
    assert [len(networks), len(seen), len(pairs), len(crops)] == [1, 1, 1, 2]
