"""tools/extract_features.py: features of a folder in one file."""

import csv
import importlib.util

import numpy as np
import pytest
import torch
from pyarrow import parquet

from mmssl.apis import FeatureExtractor

from ..helpers.command import call, refused
from ..helpers.hub import entry, registered, weights

SCRIPT = 'tools/extract_features.py'


@pytest.fixture
def config(tiny_config, tmp_path):
    path = tmp_path / 'tiny_vit.py'
    path.write_text(tiny_config().read_text())
    return path


@pytest.fixture
def file(config, tmp_path):
    torch.save({'state_dict': weights(config, 1)}, tmp_path / 'net.pth')
    return tmp_path / 'net.pth'


def wanted(config, file, paths) -> np.ndarray:
    """Features by the API, which reads images on its own way."""
    extract = FeatureExtractor(config, pretrained=file)
    return np.stack([f[0].numpy() for f in extract([str(p) for p in paths])])


def test_class_folders(config, file, tmp_path, image_folder, capsys):
    out = tmp_path / 'deep' / 'features.npz'
    words = (config, image_folder / 'val', '--out', out, '--weights', file, '--batch-size', 4)
    done = call(capsys, *words, '--workers', 0, script=SCRIPT)
    assert done.code == 0
    assert f'{out}: 9 images of 3 classes, 16 features each' in done.out
    found = np.load(out, allow_pickle=False)
    files = sorted((image_folder / 'val').rglob('*.png'))
    assert found['paths'].tolist() == [str(f) for f in files]
    assert found['labels'].tolist() == [0] * 3 + [1] * 3 + [2] * 3
    assert found['classes'].tolist() == ['blue', 'green', 'red']
    assert found['features'].dtype == np.float32
    np.testing.assert_allclose(found['features'], wanted(config, file, files), atol=1e-5)
    assert [p.name for p in out.parent.iterdir()] == ['features.npz']


def test_a_flat_folder_and_a_published_model(config, file, tmp_path, image_folder, server, capsys):
    folder, out = image_folder / 'val' / 'red', tmp_path / 'f.npz'
    url = server.put('/net.pth', file.read_bytes())
    with registered(tmp_path, entry(config, url, None)):
        words = ('tiny_VIT', folder, '--out', out, '--workers', 0)
        assert call(capsys, *words, script=SCRIPT).code == 0
    found = np.load(out)
    assert found['labels'].tolist() == [-1] * 3 and found['classes'].tolist() == []
    np.testing.assert_allclose(
        found['features'], wanted(config, file, sorted(folder.iterdir())), atol=1e-5
    )


def test_a_random_network_only_when_asked_for(config, tmp_path, image_folder, capsys):
    words = (config, image_folder / 'val', '--out', tmp_path / 'f.npz', '--workers', 0)
    refused(call(capsys, *words, script=SCRIPT), '--weights')
    assert call(capsys, *words, '--weights', 'random', script=SCRIPT).code == 0
    assert np.load(tmp_path / 'f.npz')['features'].shape == (9, 16)


def test_mistakes_are_one_line(capsys):
    refused(call(capsys, 'c', 'd', '--out', 'f.npy', script=SCRIPT), '--out', 'f.npy')
    words = ('nothing', 'd', '--out', 'f.npz', '--weights', 'random')
    refused(call(capsys, *words, script=SCRIPT), 'name', 'nothing')


def test_a_missing_folder_is_one_line(config, tmp_path, capsys):
    words = (config, tmp_path / 'gone', '--out', tmp_path / 'f.npz', '--weights', 'random')
    refused(call(capsys, *words, script=SCRIPT), 'folder', str(tmp_path / 'gone'))


@pytest.mark.parametrize('ending', ['csv', 'parquet'])
def test_tables_hold_the_arrays(config, file, tmp_path, image_folder, capsys, ending):
    words = (config, image_folder / 'val', '--weights', file, '--workers', 0, '--out')
    for name in ('f.npz', f'f.{ending}'):
        assert call(capsys, *words, tmp_path / name, script=SCRIPT).code == 0
    arrays = np.load(tmp_path / 'f.npz')
    if ending == 'csv':
        with open(tmp_path / 'f.csv', newline='') as rows:
            found = list(csv.DictReader(rows))
        features = [[float(row[f'feature_{i}']) for i in range(16)] for row in found]
        columns = {key: [row[key] for row in found] for key in ('path', 'class')}
        labels = [int(row['label']) for row in found]
    else:
        columns = parquet.read_table(tmp_path / 'f.parquet').to_pydict()
        features, labels = columns['features'], columns['label']
    assert columns['path'] == arrays['paths'].tolist()
    assert labels == arrays['labels'].tolist()
    assert columns['class'] == [arrays['classes'][i] for i in labels]
    np.testing.assert_array_equal(np.array(features, np.float32), arrays['features'])


def test_parquet_without_pyarrow(monkeypatch, capsys):
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
    words = ('c', 'd', '--out', 'f.parquet')
    refused(call(capsys, *words, script=SCRIPT), '--out', 'f.parquet')
