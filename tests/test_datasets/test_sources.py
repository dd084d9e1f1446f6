"""Every source gives the same images in the same order."""

import json
import os
import pickle
import re

import numpy as np
import pytest
import torch
from mmengine.fileio import BaseStorageBackend, register_backend
from PIL import Image

from mmssl.core.errors import NoData
from mmssl.datasets import ImageDataset
from mmssl.datasets.sources import Names
from mmssl.datasets.sources.cifar import read_pickle

from ..helpers.packed import pack, served, small, write_cifar
from ..helpers.refusals import refuses

VIEWS = [
    dict(type='RandomView', size=16, jitter=(0.4, 0.4, 0.2, 0.1), blur=0.5, solarize=0.2),
    dict(type='RandomView', size=8, scale=(0.05, 0.4), repeat=2),
]
PIPELINE = [dict(type='LoadImage'), dict(type='MultiView', views=VIEWS)]
PACKED = {
    'zip': dict(type='ZipSource'),
    'esvit-zip': dict(type='ZipSource', cache='full'),
    'tsv': dict(type='TsvSource'),
    'shards': dict(type='ShardSource'),
    'lmdb': dict(type='ListSource'),
    'folder': dict(type='FolderSource'),
}


@register_backend('memory', prefixes='oss')
class Memory(BaseStorageBackend):
    """An object store in a dict: S3-like."""

    files: dict = {}  # noqa: RUF012

    def get(self, filepath):
        return self.files[filepath]

    def get_text(self, filepath, encoding='utf-8'):
        return self.get(filepath).decode(encoding)


def items(dataset):
    """Return views and labels of two epochs."""
    return [dataset[epoch, i] for epoch in (0, 3) for i in range(len(dataset))]


def same(ours, theirs):
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        assert all(torch.equal(x, y) for x, y in zip(a['inputs'], b['inputs'], strict=True))
        for key in ('index', 'label', 'unreadable'):
            assert a['data_samples'][key] == b['data_samples'][key]
        assert torch.equal(a['data_samples']['box'], b['data_samples']['box'])


@pytest.fixture(scope='module')
def whole(image_folder):
    """Views of the images in their class folders: what every other storage must give."""
    dataset = ImageDataset(str(image_folder), 'train', pipeline=PIPELINE, seed=4)
    return dataset, items(dataset)


@pytest.mark.parametrize('per_file', [0, 7])
@pytest.mark.parametrize('kind', PACKED)
def test_packed_copies_give_identical_views(image_folder, whole, tmp_path, kind, per_file, capsys):
    out = tmp_path / kind
    pack(image_folder, out, '--to', kind, '--per-file', per_file)
    assert 'wrote 24 images of 3 classes' in capsys.readouterr().out
    root = f'lmdb://{out}' if kind == 'lmdb' else str(out)
    copy = ImageDataset(root, 'train', source=PACKED[kind], pipeline=PIPELINE, seed=4)
    assert copy.labels == whole[0].labels
    assert [copy.source.key(i) for i in range(24)] == [whole[0].source.key(i) for i in range(24)]
    same(items(copy), whole[1])
    if per_file and kind in ('tsv', 'shards'):
        assert len(list(out.rglob('*.t[as][rv]'))) == 4
    assert not list(tmp_path.rglob('*.part'))


def test_lists_and_addresses_give_identical_views(image_folder, whole, tmp_path):
    keys = [whole[0].source.key(i) for i in range(24)]
    lines = ''.join(f'{k} {y}\n' for k, y in zip(keys, whole[0].labels, strict=True))
    (tmp_path / 'meta').mkdir()
    (tmp_path / 'meta/train.txt').write_text(lines)
    (tmp_path / 'train').symlink_to(image_folder / 'train')
    for data in (
        ImageDataset(str(tmp_path), 'train', pipeline=PIPELINE, ann_file='meta/train.txt', seed=4),
        ImageDataset(str(tmp_path), 'train', pipeline=PIPELINE, seed=4),  # OpenMMLab's layout
    ):
        assert type(data.source).__name__ == 'ListSource'
        same(items(data), whole[1])
    # a list of files that lie elsewhere is not preferred to class folders
    (tmp_path / 'meta/train.txt').write_text('ILSVRC2012_val_00000001.JPEG 65\n')
    assert type(ImageDataset(str(tmp_path), 'train').source).__name__ == 'FolderSource'
    (tmp_path / 'meta/train.txt').write_text(lines)
    with served(tmp_path) as address:
        same(items(ImageDataset(address, 'train', pipeline=PIPELINE, seed=4)), whole[1])
        with refuses('file', f'{address}/val.txt', NoData):
            ImageDataset(address, 'val')
    Memory.files = {
        f'oss://bucket/train/{k}': (image_folder / 'train' / k).read_bytes() for k in keys
    }
    Memory.files['oss://bucket/train.txt'] = lines.encode()
    same(items(ImageDataset('oss://bucket/', 'train', pipeline=PIPELINE, seed=4)), whole[1])


def test_cifar_pickles_and_folders_give_identical_views(image_folder, tmp_path):
    folders = small(image_folder, tmp_path / 'folders')
    images = [np.asarray(Image.open(folders.name(i))) for i in range(24)]
    names = [folders.source.key(i).split('/')[1] for i in range(24)]
    write_cifar(tmp_path, images, folders.labels, names)
    seen = [
        ImageDataset(str(root), 'train', source=source, pipeline=PIPELINE, seed=4)
        for root, source in (
            (tmp_path / 'folders', None),
            (tmp_path, dict(type='CifarSource')),
            (tmp_path / 'cifar-10-batches-py', dict(type='CifarSource')),
        )
    ]
    assert [data.classes for data in seen] == [('blue', 'green', 'red')] * 3
    for data in seen[1:]:
        same(items(data), items(seen[0]))
    pack(tmp_path, tmp_path / 'out', '--source', 'CifarSource', '--to', 'folder')
    same(
        items(ImageDataset(str(tmp_path / 'out'), 'train', pipeline=PIPELINE, seed=4)),
        items(seen[0]),
    )


@pytest.mark.parametrize('payload', [os.system, print, eval, pickle.loads])
def test_a_pickle_that_asks_for_more_than_arrays_is_refused(tmp_path, payload):
    class Bomb:
        def __reduce__(self):
            return payload, (f'touch {tmp_path}/ran',)

    path = tmp_path / 'data_batch_1'
    path.write_bytes(pickle.dumps({b'data': Bomb()}, protocol=2))
    with refuses('file', str(path)) as caught:
        read_pickle(path)
    assert re.search(rf'asks for \w+\.{payload.__name__}\b', str(caught.value))
    assert not (tmp_path / 'ran').exists()


def test_a_pickle_written_by_newer_numpy_is_read(tmp_path):
    path = tmp_path / 'a'
    data = np.arange(12, dtype=np.uint8).reshape(3, 4)
    for protocol in (2, 4):
        text = pickle.dumps({b'data': data}, protocol=protocol)
        for old, new in ((b'numpy.core.', b'numpy.core.'), (b'numpy._core.', b'numpy._core.')):
            path.write_bytes(text.replace(old, new))
            np.testing.assert_array_equal(read_pickle(path)[b'data'], data)


def test_cifar_100_has_fine_labels(tmp_path):
    folder = tmp_path / 'cifar-100-python'
    folder.mkdir()
    data = np.zeros((2, 3072), np.uint8)
    train = {b'data': data, b'fine_labels': [1, 0], b'coarse_labels': [0, 0]}
    (folder / 'train').write_bytes(pickle.dumps(train, protocol=2))
    (folder / 'meta').write_bytes(pickle.dumps({b'fine_label_names': [b'ant', b'bee']}))
    found = ImageDataset(str(tmp_path), 'train', source=dict(type='CifarSource'))
    assert (found.labels, found.classes) == ([1, 0], ('ant', 'bee'))


def test_shards_may_be_read_in_any_order(image_folder, tmp_path, monkeypatch):
    from mmssl.datasets.sources import shards

    pack(image_folder, tmp_path, '--to', 'shards', '--per-file', 5)
    monkeypatch.setattr(shards, 'WINDOW', 2)  # streams forget soon
    data = ImageDataset(str(tmp_path), 'train', source=dict(type='ShardSource'))
    for i in (23, 0, 4, 1, 2, 2, 9, 7, 8, 5, 6, 22):
        key = data.source.key(i)
        assert data.read(i) == (image_folder / 'train' / key).read_bytes()


def test_an_index_of_shards_runs_no_command(tmp_path):
    command = f'pipe:touch {tmp_path}/ran'
    index = dict(shardlist=[dict(url=command, nsamples=3)])
    (tmp_path / 'train.json').write_text(json.dumps(index))
    with refuses('url', command):
        ImageDataset(str(tmp_path), 'train', source=dict(type='ShardSource'))
    assert not (tmp_path / 'ran').exists()


def test_shards_without_an_index_get_one(image_folder, tmp_path):
    pack(image_folder, tmp_path, '--to', 'shards', '--per-file', 10)
    before = json.loads((tmp_path / 'train.json').read_text())
    (tmp_path / 'train.json').unlink()
    pack('--index', *tmp_path.glob('*.tar'))
    assert json.loads((tmp_path / 'train.json').read_text()) == before
    assert [shard['nsamples'] for shard in before['shardlist']] == [10, 10, 4]


def test_packing_refuses_to_overwrite_and_to_merge(image_folder, tmp_path):
    pack(image_folder, tmp_path / 'a', '--to', 'zip')
    with refuses('file', str(tmp_path / 'a/train.zip')):
        pack(image_folder, tmp_path / 'a', '--to', 'zip')
    twins = tmp_path / 'twins/train/a'
    twins.mkdir(parents=True)
    for name in ('x.1.png', 'x_1.png'):
        Image.new('RGB', (4, 4)).save(twins / name)
    with refuses('key', 'a/x_1.png'):
        pack(tmp_path / 'twins', tmp_path / 'b', '--to', 'shards')


def test_the_copy_is_read_back(image_folder, tmp_path, monkeypatch):
    from mmssl.datasets.packing import ZipWriter

    add = ZipWriter.add
    monkeypatch.setattr(
        ZipWriter, 'add', lambda self, key, label, content: add(self, key, label, content + b'!')
    )
    with refuses('file', f'{tmp_path}/train.zip@/blue/0.png'):
        pack(image_folder, tmp_path, '--to', 'zip')


def test_names_are_kept_whole():
    words = ['a', '', 'ü/ж.png', 'x' * 300]
    names = Names(words)
    assert [names[i] for i in range(4)] == words == list(names)
    assert len(names) == 4
