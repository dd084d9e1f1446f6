"""The comparison of configs over seeds."""

import json
import shutil

import pytest

from mmssl.apis import load_config
from mmssl.cli import compare

from ..helpers.paths import REPO
from ..helpers.refusals import refuses
from ..helpers.tiny import write_config


@pytest.fixture
def config(image_folder, tmp_path):
    """Return a tiny config with a monitor at the start."""
    path = write_config(tmp_path, image_folder)
    named = tmp_path / 'mocov3_vit_1xb6-2e_tiny.py'
    named.write_text(path.read_text() + 'train_cfg.update(max_epochs=2, val_at_start=True)\n')
    return named


def arguments(config, tmp_path, *more):
    out = ['--work-dir', str(tmp_path / 'runs'), '--out', str(tmp_path / 'table.md')]
    return ['--configs', str(config), '--seeds', '0', '1', *out, *more]


@pytest.mark.slow
def test_trains_what_is_missing_and_only_that(config, tmp_path, monkeypatch, capsys):
    text = compare.main(arguments(config, tmp_path))
    assert (tmp_path / 'table.md').read_text() == text
    results = sorted((tmp_path / 'runs').rglob('result.json'))
    assert [p.parent.name[:5] for p in results] == ['seed0', 'seed1']
    first, second = (json.loads(p.read_text()) for p in results)
    row = next(line for line in text.splitlines() if 'mocov3_vit' in line)
    assert f'{(first["last"] + second["last"]) / 2:.1f} ± ' in row
    assert f'{(first["random"] + second["random"]) / 2:.1f} ± ' in row
    assert '| 2 x 16 px | 48 |' in row  # 24 images, 2 epochs
    assert 'torch' in text

    def refuse(*_):
        raise AssertionError('nothing is left to train')

    monkeypatch.setattr(compare, 'train', refuse)
    assert compare.main(arguments(config, tmp_path)) == text
    shutil.rmtree(results[1].parent)
    monkeypatch.setattr(compare, 'train', lambda *_: 2)
    with refuses('runs', 'mocov3_vit seed 1'):
        compare.main(arguments(config, tmp_path))
    assert '[1/1] mocov3_vit, seed 1' in capsys.readouterr().out
    # other settings: other folders, new runs
    changed = ['--cfg-options', 'optim_wrapper.optimizer.lr=0.5']
    with refuses('runs', 'mocov3_vit seed 0, mocov3_vit seed 1'):
        compare.main(arguments(config, tmp_path, *changed))
    assert '2 runs, 0 of them finished' in capsys.readouterr().out


def test_what_cannot_be_compared_is_refused_before_training(config, tmp_path):
    config.write_text(config.read_text().replace('val_at_start=True', 'val_interval=1'))
    with refuses('train_cfg.val_at_start'):
        compare.main(arguments(config, tmp_path))
    with refuses('val_cfg'):
        compare.main(arguments(config, tmp_path, '--cfg-options', 'val_cfg=None'))


def test_a_run_without_its_first_accuracy_is_refused(config, tmp_path):
    run = compare.Run(compare.read_entry(config, {}), 0, tmp_path / 'run')
    logged = run.folder / 'start' / 'vis_data' / 'scalars.json'
    logged.parent.mkdir(parents=True)
    logged.write_text('{"knn/top1": 40.0, "step": 2}\n')
    with refuses('folder', str(run.folder)):
        compare.collect(run)


@pytest.mark.parametrize('data', ['shapes', 'cifar10', 'imagenette'])
def test_every_data_set_has_every_method_on_one_network(data):
    configs = [load_config(path) for path in compare.parse(['--data', data]).configs]
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


def test_mean_and_spread():
    assert compare.mean_and_std([1.0, 3.0]) == '2.0 ± 1.4'
    assert compare.mean_and_std([12.345], '+') == '+12.3'
    assert REPO == compare.REPO
