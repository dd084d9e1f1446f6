"""The feature cache is reused for the same network, images and transform only."""

import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from torch.testing import assert_close

from mmssl.evaluation import cache
from mmssl.evaluation.cache import cached
from mmssl.evaluation.feature_extraction import Bank

from ..helpers.knn_runs import weights, write_knn
from ..helpers.refusals import refuses
from ..helpers.tiny import make_runner


def bank(value=0.0):
    return Bank(torch.full((3, 2), value), torch.tensor([0, 1, 1]), torch.arange(3))


class Count:
    """A maker of features that knows how often it was called."""

    def __init__(self):
        self.calls = 0

    def __call__(self):
        self.calls += 1
        return bank(self.calls)


def test_an_equal_key_reads_and_another_makes(tmp_path):
    make = Count()
    first = cached({'a': 1, 'b': [1.5]}, tmp_path / 'new', make)
    again = cached({'b': [1.5], 'a': 1}, tmp_path / 'new', make)
    assert make.calls == 1
    assert all(torch.equal(x, y) for x, y in zip(first, again, strict=True))
    assert cached({'a': 1, 'b': [2.5]}, tmp_path / 'new', make).features[0, 0] == 2
    assert make.calls == 2
    assert len(list((tmp_path / 'new').iterdir())) == 2
    cached({'a': 1}, None, make)
    assert len(list((tmp_path / 'new').iterdir())) == 2


@pytest.mark.parametrize('damage', ['cut', 'emptied', 'of another key'])
def test_a_file_that_is_not_whole_is_made_anew(tmp_path, damage):
    make = Count()
    cached({'a': 1}, tmp_path, make)
    (path,) = tmp_path.iterdir()
    if damage == 'of another key':
        cached({'a': 2}, tmp_path, make)
        (other,) = set(tmp_path.iterdir()) - {path}
        shutil.copy(other, path)
    else:
        path.write_bytes(path.read_bytes()[: -4 if damage == 'cut' else 0])
    before = make.calls
    assert cached({'a': 1}, tmp_path, make).features[0, 0] == before + 1
    assert cached({'a': 1}, tmp_path, make).features[0, 0] == before + 1


def test_a_folder_that_cannot_be_is_named_before_anything_is_made(tmp_path):
    (tmp_path / 'file').touch()
    make = Count()
    with refuses('features_cache', tmp_path / 'file'):
        cached({'a': 1}, tmp_path / 'file', make)
    assert make.calls == 0


def test_a_full_disk_does_not_cost_the_measurement(tmp_path, monkeypatch):
    def full(tensors, path, metadata):
        path.write_bytes(b'half')
        raise OSError('No space left on device')

    monkeypatch.setattr(cache, 'save_file', full)
    said = []
    monkeypatch.setattr(cache, 'print_log', lambda text, **_: said.append(text))
    assert cached({'a': 1}, tmp_path, Count()).features[0, 0] == 1
    assert 'features are not kept' in said[0] and 'No space left' in said[0]
    assert not list(tmp_path.iterdir())


def _both(folder):
    make = Count()
    found = [cached({'a': 1}, folder, make) for _ in range(2)]
    return make.calls, found[1].features


def test_two_processes_keep_one_file(two_ranks, tmp_path):
    for calls, features in two_ranks(_both, str(tmp_path)):
        assert calls == 1
        assert torch.equal(features, bank(1).features)
    assert len(list(tmp_path.iterdir())) == 1


@pytest.fixture
def measure(image_folder, tmp_path, monkeypatch):
    """Run the tiny kNN; return its metrics and how many sets were extracted."""
    shutil.copytree(image_folder, tmp_path / 'data')
    config, calls = write_knn(tmp_path, tmp_path / 'data'), []
    extract = cache.extract
    monkeypatch.setattr(cache, 'extract', lambda *args: (calls.append(1), extract(*args))[1])

    def run(weights, **options):
        calls.clear()
        common = dict(pretrained=str(weights), features_cache=str(tmp_path / 'kept'))
        runner = make_runner(config, tmp_path / 'run', **common | options)
        return runner.test(), len(calls)

    return run


def test_what_decides_the_features_is_in_the_key(measure, tmp_path):
    first, other = weights(tmp_path / 'a.pth'), weights(tmp_path / 'b.pth', 1)
    metrics, extracted = measure(first)
    assert extracted == 2
    assert measure(first) == (metrics, 0)
    shutil.copy(first, tmp_path / 'moved.pth')
    assert measure(tmp_path / 'moved.pth', test_cfg__temperature=0.07) == (metrics, 0)
    assert measure(other)[1] == 2
    pipeline = 'test_dataloader__dataset__pipeline__1__'
    assert measure(first, **{f'{pipeline}interpolation': 'bilinear'})[1] == 2
    assert measure(first, test_cfg__feature__pool='mean')[1] == 2
    assert measure(first, test_cfg__feature__blocks=2)[1] == 2
    assert measure(first, model__backbone__norm_eps=1e-3)[1] == 2
    scaled = dict(type='ViewPreprocessor', std=(1, 1, 1))
    assert measure(first, model__data_preprocessor=scaled)[1] == 2
    assert measure(first, test_cfg__bank__per_class=4)[1] == 1, 'the queries are the same'
    image = next((tmp_path / 'data' / 'val' / 'red').iterdir())
    Image.fromarray(255 - np.asarray(Image.open(image))).save(image)
    assert measure(first)[1] == 1, 'other images of the same names'
    assert measure(first)[1] == 0


def test_read_features_give_the_figures_of_extracted_ones(measure, tmp_path):
    file = weights(tmp_path / 'a.pth', 3)
    kept, _ = measure(file)
    read, extracted = measure(file, test_dataloader__batch_size=3)
    assert (read, extracted) == (kept, 0)
    plain, extracted = measure(file, features_cache=None)
    assert extracted == 2
    assert_close(plain, kept)
