"""Every storage gives the same images in the same order, and says what it is not."""

import base64
import json
import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.fileio import BaseStorageBackend, register_backend
from PIL import Image

from mmssl.apis import load_config
from mmssl.core import UserError
from mmssl.core.errors import NoData
from mmssl.datasets import ImageFolder, ImageSet
from mmssl.datasets.sources import Names
from mmssl.datasets.sources.cifar import read_pickle
from mmssl.registry import DATASETS

from ..conftest import REPO
from .packed import pack, served, small, write_cifar

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
        for key in ('index', 'label', 'fault'):
            assert a['data_samples'][key] == b['data_samples'][key]
        assert torch.equal(a['data_samples']['box'], b['data_samples']['box'])


@pytest.fixture(scope='module')
def whole(pictures):
    """Views of the pictures in their class folders: what every other storage must give."""
    dataset = ImageFolder(str(pictures), 'train', pipeline=PIPELINE, seed=4)
    return dataset, items(dataset)


@pytest.mark.parametrize('per_file', [0, 7])
@pytest.mark.parametrize('kind', PACKED)
def test_packed_copies_give_identical_views(pictures, whole, tmp_path, kind, per_file, capsys):
    out = tmp_path / kind
    pack(pictures, out, '--to', kind, '--per-file', per_file)
    assert 'wrote 24 images of 3 classes' in capsys.readouterr().out
    root = f'lmdb://{out}' if kind == 'lmdb' else str(out)
    copy = ImageSet(root, 'train', PACKED[kind], PIPELINE, seed=4)
    assert copy.labels == whole[0].labels
    assert [copy.source.key(i) for i in range(24)] == [whole[0].source.key(i) for i in range(24)]
    same(items(copy), whole[1])
    if per_file and kind in ('tsv', 'shards'):
        assert len(list(out.rglob('*.t[as][rv]'))) == 4
    assert not list(tmp_path.rglob('*.part'))


def test_lists_and_addresses_give_identical_views(pictures, whole, tmp_path):
    keys = [whole[0].source.key(i) for i in range(24)]
    lines = ''.join(f'{k} {y}\n' for k, y in zip(keys, whole[0].labels, strict=True))
    (tmp_path / 'meta').mkdir()
    (tmp_path / 'meta/train.txt').write_text(lines)
    (tmp_path / 'train').symlink_to(pictures / 'train')
    for data in (
        ImageFolder(str(tmp_path), 'train', PIPELINE, 'meta/train.txt', seed=4),
        ImageFolder(str(tmp_path), 'train', pipeline=PIPELINE, seed=4),  # OpenMMLab's layout
    ):
        assert type(data.source).__name__ == 'ListSource'
        same(items(data), whole[1])
    # a list of files that lie elsewhere is not preferred to class folders
    (tmp_path / 'meta/train.txt').write_text('ILSVRC2012_val_00000001.JPEG 65\n')
    assert type(ImageFolder(str(tmp_path), 'train').source).__name__ == 'FolderSource'
    (tmp_path / 'meta/train.txt').write_text(lines)
    with served(tmp_path) as address:
        same(items(ImageFolder(address, 'train', pipeline=PIPELINE, seed=4)), whole[1])
        with pytest.raises(NoData, match=r'val\.txt: no such list of images, and this storage'):
            ImageFolder(address, 'val')
    Memory.files = {f'oss://bucket/train/{k}': (pictures / 'train' / k).read_bytes() for k in keys}
    Memory.files['oss://bucket/train.txt'] = lines.encode()
    same(items(ImageFolder('oss://bucket/', 'train', pipeline=PIPELINE, seed=4)), whole[1])


def test_cifar_pickles_and_folders_give_identical_views(pictures, tmp_path):
    folders = small(pictures, tmp_path / 'folders')
    images = [np.asarray(Image.open(folders.name(i))) for i in range(24)]
    names = [folders.source.key(i).split('/')[1] for i in range(24)]
    write_cifar(tmp_path, images, folders.labels, names)
    seen = [
        ImageSet(str(root), 'train', source, PIPELINE, seed=4)
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
        items(ImageFolder(str(tmp_path / 'out'), 'train', pipeline=PIPELINE, seed=4)),
        items(seen[0]),
    )


@pytest.mark.parametrize('payload', [os.system, print, eval, pickle.loads])
def test_a_pickle_that_asks_for_more_than_arrays_is_refused(tmp_path, payload):
    class Bomb:
        def __reduce__(self):
            return payload, (f'touch {tmp_path}/ran',)

    path = tmp_path / 'data_batch_1'
    path.write_bytes(pickle.dumps({b'data': Bomb()}, protocol=2))
    with pytest.raises(UserError, match=r'data_batch_1: not a file of CIFAR \(asks for '):
        read_pickle(path)
    assert not (tmp_path / 'ran').exists()
    path.write_bytes(pickle.dumps([1]))
    with pytest.raises(UserError, match='no dict in it'):
        read_pickle(path)
    path.write_bytes(b'')
    with pytest.raises(UserError, match='not a file of CIFAR'):
        read_pickle(path)


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
    found = ImageSet(str(tmp_path), 'train', dict(type='CifarSource'))
    assert (found.labels, found.classes) == ([1, 0], ('ant', 'bee'))
    with pytest.raises(UserError, match="CIFAR has 'train' and 'test'"):
        ImageSet(str(tmp_path), 'val', dict(type='CifarSource'))
    train[b'fine_labels'] = [1]
    (folder / 'train').write_bytes(pickle.dumps(train, protocol=2))
    with pytest.raises(UserError, match=r'train: not a file of CIFAR \(no images with labels\)'):
        ImageSet(str(tmp_path), 'train', dict(type='CifarSource'))


# the layouts of the official data sets ---------------------------------------------------------
def row(key: str, label: str, path: Path) -> str:
    return f'{key}\t{label}\t{base64.b64encode(path.read_bytes()).decode()}\n'


@pytest.fixture
def rows(pictures):
    """Keys, files of eight pictures."""
    paths = sorted((pictures / 'train').rglob('*.png'))[:8]
    return [(f'k{i}', path) for i, path in enumerate(paths)]


def write_rows(path: Path, lines: list[str]) -> None:
    path.write_text(''.join(lines))
    pack('--index', path)


def test_the_index_is_of_bytes(rows, tmp_path):
    path = tmp_path / 'train.tsv'
    write_rows(path, [row('ключ', '0', rows[0][1]), row('b', '1', rows[1][1])])
    first = len(row('ключ', '0', rows[0][1]).encode())
    assert path.with_suffix('.lineidx').read_text() == f'0\n{first}\n'
    data = ImageSet(str(tmp_path), 'train', dict(type='TsvSource'))
    assert (data.labels, data.source.key(0), data.source.key(1)) == ([0, 1], 'ключ', 'b')
    assert data.read(1) == rows[1][1].read_bytes()
    path.with_suffix('.lineidx').unlink()
    with pytest.raises(NoData, match=r'pack_dataset\.py --index .*train\.tsv'):
        ImageSet(str(tmp_path), 'train', dict(type='TsvSource'))


def test_imagenet22k_labels_go_through_the_map(rows, tmp_path):
    names = ['n02', 'n01', 'n02', 'n03']
    lines = [
        row(key, json.dumps([{'class': name, 'conf': 1.0}, {'class': 'n09'}]), path)
        for (key, path), name in zip(rows, names, strict=False)
    ]
    (tmp_path / 'train').mkdir()
    write_rows(tmp_path / 'train/b.tsv', lines[2:])
    write_rows(tmp_path / 'train/a.tsv', lines[:2])
    (tmp_path / 'map.txt').write_text('n01\t0\nn02\t1\nn03\t2\n')
    source = dict(type='TsvSource', label_map='map.txt')
    data = ImageSet(str(tmp_path), 'train', source)
    assert data.labels == [1, 0, 1, 2]
    assert data.classes == ('n01', 'n02', 'n03')
    assert [data.source.key(i) for i in range(4)] == ['k0', 'k1', 'k2', 'k3']
    assert ImageSet(str(tmp_path), 'train', source, with_label=False).labels == []
    (tmp_path / 'map.txt').write_text('n01\t0\nn02\t1\n')
    with pytest.raises(UserError, match=r'b\.tsv, row 1: its label .*"n03".* names no class'):
        ImageSet(str(tmp_path), 'train', source)
    (tmp_path / 'map.txt').write_text('n01 0\n')
    with pytest.raises(UserError, match=r'map\.txt, line 1: give class<TAB>number'):
        ImageSet(str(tmp_path), 'train', source)


def test_linelists_and_chunks_choose_rows(rows, tmp_path):
    write_rows(tmp_path / 'train.tsv', [row(key, '0', path) for key, path in rows])
    (tmp_path / 'map.txt').write_text('a\t0\nb\t1\n')
    (tmp_path / 'train.linelist').write_text('6\n1\n5\n2\n')
    data = ImageSet(str(tmp_path), 'train', dict(type='TsvSource'))
    assert [data.source.key(i) for i in range(len(data))] == ['k1', 'k2', 'k5', 'k6']
    chunks = dict(b=[4, 6], a=[0, 1], unknown=[2, 3])
    (tmp_path / 'train.chunks').write_text(json.dumps(chunks))
    data = ImageSet(str(tmp_path), 'train', dict(type='TsvSource', label_map='map.txt'))
    assert [data.source.key(i) for i in range(len(data))] == ['k5', 'k6', 'k1']
    assert data.labels == [1, 1, 0]
    data = ImageSet(str(tmp_path), 'train', dict(type='TsvSource'), with_label=False)
    assert [data.source.key(i) for i in range(len(data))] == ['k5', 'k6', 'k1', 'k2']


def test_openimages_repeats_rows_and_has_several_labels(rows, tmp_path):
    from mmssl.datasets.sources.openimages import CLASSES, INDEX, LABELS

    write_rows(tmp_path / 'train.tsv', [row(key, '[]', path) for key, path in rows[:3]])
    offsets = (tmp_path / 'train.lineidx').read_text().split()
    (tmp_path / INDEX).write_text('\n'.join([offsets[2], offsets[0], offsets[2], offsets[1]]))
    (tmp_path / CLASSES).write_text('cat\ndog\nelk\n')
    table = 'k0\tcat;-dog;unheard\nk1\t[{"class": "elk"}, {"class": "cat"}]\nk2\t\n'
    (tmp_path / LABELS).write_text(table)
    data = ImageSet(str(tmp_path), 'train', dict(type='OpenImagesSource'), PIPELINE)
    assert [data.source.key(i) for i in range(4)] == ['k2', 'k0', 'k2', 'k1']
    targets = [data[i]['data_samples']['label'].tolist() for i in range(4)]
    assert targets == [[0, 0, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0], [1, 0, 1, 0]]
    assert data.labels == []
    plain = ImageSet(str(tmp_path), 'train', dict(type='OpenImagesSource'), with_label=False)
    assert plain.source.target(1) is None


def test_webvision_joins_two_lists_below_a_thousand(rows, tmp_path):
    (tmp_path / 'info').mkdir()
    for name, lines in (('google', 'a/0.png 5\na/1.png 1000\n'), ('flickr', 'b/2.png 999\n')):
        (tmp_path / f'info/train_filelist_{name}.txt').write_text(lines)
    source = dict(
        type='ListSource',
        ann_file=['info/train_filelist_google.txt', 'info/train_filelist_flickr.txt'],
        num_classes=1000,
    )
    data = ImageSet(str(tmp_path), '', source)
    assert [data.source.key(i) for i in range(2)] == ['a/0.png', 'b/2.png']
    assert (data.labels, len(data.classes)) == ([5, 999], 1000)
    assert data.name(1) == str(tmp_path / 'b/2.png')


def test_simclrs_lists_keep_names_and_all_classes(pictures, tmp_path):
    (tmp_path / '1percent.txt').write_text('3.png\nred/0.png\n')
    source = dict(type='FolderSource', subset=str(tmp_path / '1percent.txt'))
    data = ImageSet(str(pictures), 'train', source)
    keys = [data.source.key(i) for i in range(len(data))]
    assert keys == ['blue/3.png', 'green/3.png', 'red/0.png', 'red/3.png']
    assert (data.labels, data.classes) == ([0, 1, 2, 2], ('blue', 'green', 'red'))
    (tmp_path / '1percent.txt').write_text('3.png\n')
    (tmp_path / 'list.txt').write_text('x.png\ny.png\n')
    with pytest.raises(UserError, match=r'list\.txt: only 0 of 2 names'):
        ImageSet(str(pictures), 'train', dict(source, subset=str(tmp_path / 'list.txt')))


@pytest.mark.parametrize('method', [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_zips_of_either_method_and_either_map(rows, tmp_path, method):
    with zipfile.ZipFile(tmp_path / 'train.zip', 'w', method) as archive:
        for key, path in rows:
            archive.writestr(f'c{key[1]}/{key}.png', path.read_bytes())
        archive.writestr('notes.txt', 'x')
    data = ImageSet(str(tmp_path), 'train', dict(type='ZipSource'))  # no map: folders are classes
    assert data.labels == list(range(8))
    assert all(data.read(i) == path.read_bytes() for i, (_, path) in enumerate(rows))
    (tmp_path / 'train_map.txt').write_text('c5/k5.png\t3\nelse.zip@/c1/k1.png\t0\n')
    data = ImageSet(str(tmp_path), 'train', dict(type='ZipSource'))
    assert data.labels == [3, 0]
    assert data.name(1) == f'{tmp_path}/train.zip@/c1/k1.png'
    assert [data.read(i) for i in (0, 1)] == [rows[k][1].read_bytes() for k in (5, 1)]
    (tmp_path / 'train_map.txt').write_text('c5/k5.png 3\n')
    with pytest.raises(UserError, match=r'train_map\.txt, line 1: give path<TAB>label'):
        ImageSet(str(tmp_path), 'train', dict(type='ZipSource'))


@pytest.mark.parametrize(('cache', 'kept'), [('no', 0), ('part', 12), ('full', 24)])
def test_the_cache_holds_what_it_says(pictures, tmp_path, cache, kept, monkeypatch):
    pack(pictures, tmp_path, '--to', 'zip')
    from mmssl.core import dist

    monkeypatch.setattr(dist, 'rank', lambda: 1)
    monkeypatch.setattr(dist, 'world_size', lambda: 2)
    data = ImageSet(str(tmp_path), 'train', dict(type='ZipSource', cache=cache))
    assert len(data.source.kept) == kept
    assert data.locality == ('rank' if cache == 'part' else None)
    if kept == 12:
        assert sorted(data.source.kept) == list(range(1, 24, 2))
    (tmp_path / 'train.zip').write_bytes(b'')  # what is cached needs no file
    if cache == 'full':
        assert data.read(5) == (pictures / 'train' / data.source.key(5)).read_bytes()
    with pytest.raises(UserError, match=r"cache='some' is unknown; use no, part, full"):
        ImageSet(str(tmp_path), 'train', dict(type='ZipSource', cache='some'))


def test_shards_may_be_read_in_any_order(pictures, tmp_path, monkeypatch):
    from mmssl.datasets.sources import shards

    pack(pictures, tmp_path, '--to', 'shards', '--per-file', 5)
    monkeypatch.setattr(shards, 'WINDOW', 2)  # streams forget soon
    data = ImageSet(str(tmp_path), 'train', dict(type='ShardSource'))
    for i in (23, 0, 4, 1, 2, 2, 9, 7, 8, 5, 6, 22):
        key = data.source.key(i)
        assert data.read(i) == (pictures / 'train' / key).read_bytes()


def test_an_index_of_shards_runs_no_command(tmp_path):
    index = dict(shardlist=[dict(url='pipe:touch ran', nsamples=3)])
    (tmp_path / 'train.json').write_text(json.dumps(index))
    with pytest.raises(UserError, match='shard pipe:touch ran: addresses may begin with http'):
        ImageSet(str(tmp_path), 'train', dict(type='ShardSource'))
    (tmp_path / 'train.json').write_text('{}')
    with pytest.raises(UserError, match=r'train\.json: not an index of shards'):
        ImageSet(str(tmp_path), 'train', dict(type='ShardSource'))
    with pytest.raises(NoData, match=r'val\.json: no such index of shards; write it'):
        ImageSet(str(tmp_path), 'val', dict(type='ShardSource'))


def test_shards_without_an_index_get_one(pictures, tmp_path):
    pack(pictures, tmp_path, '--to', 'shards', '--per-file', 10)
    before = json.loads((tmp_path / 'train.json').read_text())
    (tmp_path / 'train.json').unlink()
    pack('--index', *tmp_path.glob('*.tar'))
    assert json.loads((tmp_path / 'train.json').read_text()) == before
    assert [shard['nsamples'] for shard in before['shardlist']] == [10, 10, 4]


def test_packing_refuses_to_overwrite_and_to_merge(pictures, tmp_path):
    pack(pictures, tmp_path / 'a', '--to', 'zip')
    with pytest.raises(UserError, match=r'train\.zip: exists'):
        pack(pictures, tmp_path / 'a', '--to', 'zip')
    twins = tmp_path / 'twins/train/a'
    twins.mkdir(parents=True)
    for name in ('x.1.png', 'x_1.png'):
        Image.new('RGB', (4, 4)).save(twins / name)
    with pytest.raises(UserError, match='another image has the same name'):
        pack(tmp_path / 'twins', tmp_path / 'b', '--to', 'shards')


def test_the_copy_is_read_back(pictures, tmp_path, monkeypatch):
    from mmssl.datasets.writers import ZipWriter

    add = ZipWriter.add
    monkeypatch.setattr(
        ZipWriter, 'add', lambda self, key, label, content: add(self, key, label, content + b'!')
    )
    with pytest.raises(UserError, match=r'blue/0\.png: reads back with other bytes'):
        pack(pictures, tmp_path, '--to', 'zip')


def test_names_are_kept_whole():
    words = ['a', '', 'ü/ж.png', 'x' * 300]
    names = Names(words)
    assert [names[i] for i in range(4)] == words == list(names)
    assert len(names) == 4


# recipes on other images than ImageNet-1k --------------------------------------------------------
def lay_out(data: str, rows: list, root: Path) -> int:
    """Write a data set as the recipe on it expects; return how many images it gives."""
    if data == 'webvision1':
        (root / 'info').mkdir()
        (root / 'google').mkdir()
        for i, (_, path) in enumerate(rows):
            (root / f'google/{i}.png').write_bytes(path.read_bytes())
        lines = [f'google/{i}.png {500 * i}\n' for i in range(8)]
        (root / 'info/train_filelist_google.txt').write_text(''.join(lines))
        (root / 'info/train_filelist_flickr.txt').write_text('google/7.png 999\n')
        return 3
    write_rows(root / 'train.tsv', [row(key, '[{"class": "n1"}]', path) for key, path in rows])
    if data == 'openimages-v4':
        offsets = (root / 'train.lineidx').read_text().split()
        (root / 'train.balance_min1000.lineidx').write_text('\n'.join(offsets * 2))
        return 16
    return 8


@pytest.mark.parametrize('data', ['webvision1', 'openimages-v4', 'in22k'])
def test_recipes_on_other_images_read_the_official_layout(data, rows, tmp_path):
    path = next((REPO / 'configs/esvit').glob(f'*_{data}.py'))
    count = lay_out(data, rows, tmp_path)
    cfg = load_config(path, {'data_root': str(tmp_path)})
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    assert len(dataset) == count
    item = dataset[0]
    assert [tuple(v.shape) for v in item['inputs']] == [(3, 224, 224)] * 2 + [(3, 96, 96)] * 8
    assert 'label' not in item['data_samples']
    assert item['data_samples']['fault'] == ''
    assert cfg.val_dataloader.dataset.data_root == 'data/imagenet/'
