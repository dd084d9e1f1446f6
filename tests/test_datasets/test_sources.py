"""Every source gives the same images in the same order."""

import json

import pytest
from mmengine.fileio import BaseStorageBackend, register_backend
from PIL import Image

from mmssl.core.errors import NoData
from mmssl.datasets import ImageDataset
from mmssl.datasets.sources import Names

from ..helpers.packed import pack, served
from ..helpers.refusals import refuses
from ..helpers.views import PIPELINE, items, same

PACKED = {
    'zip': dict(type='ZipSource'),
    'esvit-zip': dict(type='ZipSource', cache='full'),
    'tsv': dict(type='TsvSource'),
    'shards': dict(type='ShardSource'),
    'lmdb': dict(type='ListSource'),
    'parquet': dict(type='ParquetSource'),
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
