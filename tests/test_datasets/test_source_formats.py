"""The layouts in which the official codes keep their data sets."""

import base64
import json
import zipfile
from pathlib import Path

import pytest

from mmssl.apis import load_config
from mmssl.core import dist
from mmssl.datasets import ImageDataset
from mmssl.registry import DATASETS

from ..helpers.images import make_image
from ..helpers.packed import pack
from ..helpers.paths import REPO
from ..helpers.refusals import refuses

VIEW = dict(type='RandomView', size=8)
PIPELINE = [dict(type='LoadImage'), dict(type='MultiView', views=[VIEW])]


def row(key: str, label: str, path: Path) -> str:
    return f'{key}\t{label}\t{base64.b64encode(path.read_bytes()).decode()}\n'


@pytest.fixture
def rows(image_folder):
    """Keys, files of eight images."""
    paths = sorted((image_folder / 'train').rglob('*.png'))[:8]
    return [(f'k{i}', path) for i, path in enumerate(paths)]


def write_rows(path: Path, lines: list[str]) -> None:
    path.write_text(''.join(lines))
    pack('--index', path)


def test_the_index_is_of_bytes(rows, tmp_path):
    path = tmp_path / 'train.tsv'
    write_rows(path, [row('ключ', '0', rows[0][1]), row('b', '1', rows[1][1])])
    first = len(row('ключ', '0', rows[0][1]).encode())
    assert path.with_suffix('.lineidx').read_text() == f'0\n{first}\n'
    data = ImageDataset(str(tmp_path), 'train', source=dict(type='TsvSource'))
    assert (data.labels, data.source.key(0), data.source.key(1)) == ([0, 1], 'ключ', 'b')
    assert data.read(1) == rows[1][1].read_bytes()


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
    data = ImageDataset(str(tmp_path), 'train', source=source)
    assert data.labels == [1, 0, 1, 2]
    assert data.classes == ('n01', 'n02', 'n03')
    assert [data.source.key(i) for i in range(4)] == ['k0', 'k1', 'k2', 'k3']
    assert ImageDataset(str(tmp_path), 'train', source=source, with_label=False).labels == []
    (tmp_path / 'map.txt').write_text('n01\t0\nn02\t1\n')
    with refuses('file', str(tmp_path / 'train/b.tsv')) as caught:
        ImageDataset(str(tmp_path), 'train', source=source)
    assert 'row 1' in str(caught.value) and '"n03"' in str(caught.value)


def test_linelists_and_chunks_choose_rows(rows, tmp_path):
    write_rows(tmp_path / 'train.tsv', [row(key, '0', path) for key, path in rows])
    (tmp_path / 'map.txt').write_text('a\t0\nb\t1\n')
    (tmp_path / 'train.linelist').write_text('6\n1\n5\n2\n')
    data = ImageDataset(str(tmp_path), 'train', source=dict(type='TsvSource'))
    assert [data.source.key(i) for i in range(len(data))] == ['k1', 'k2', 'k5', 'k6']
    chunks = dict(b=[4, 6], a=[0, 1], unknown=[2, 3])
    (tmp_path / 'train.chunks').write_text(json.dumps(chunks))
    data = ImageDataset(str(tmp_path), 'train', source=dict(type='TsvSource', label_map='map.txt'))
    assert [data.source.key(i) for i in range(len(data))] == ['k5', 'k6', 'k1']
    assert data.labels == [1, 1, 0]
    data = ImageDataset(str(tmp_path), 'train', source=dict(type='TsvSource'), with_label=False)
    assert [data.source.key(i) for i in range(len(data))] == ['k5', 'k6', 'k1', 'k2']


def test_openimages_repeats_rows_and_has_several_labels(rows, tmp_path):
    from mmssl.datasets.sources.openimages import CLASSES, INDEX, LABELS

    write_rows(tmp_path / 'train.tsv', [row(key, '[]', path) for key, path in rows[:3]])
    offsets = (tmp_path / 'train.lineidx').read_text().split()
    (tmp_path / INDEX).write_text('\n'.join([offsets[2], offsets[0], offsets[2], offsets[1]]))
    (tmp_path / CLASSES).write_text('cat\ndog\nelk\n')
    table = 'k0\tcat;-dog;unheard\nk1\t[{"class": "elk"}, {"class": "cat"}]\nk2\t\n'
    (tmp_path / LABELS).write_text(table)
    data = ImageDataset(
        str(tmp_path), 'train', source=dict(type='OpenImagesSource'), pipeline=PIPELINE
    )
    assert [data.source.key(i) for i in range(4)] == ['k2', 'k0', 'k2', 'k1']
    targets = [data[i]['data_samples']['label'].tolist() for i in range(4)]
    assert targets == [[0, 0, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0], [1, 0, 1, 0]]
    assert data.labels == []
    plain = ImageDataset(
        str(tmp_path), 'train', source=dict(type='OpenImagesSource'), with_label=False
    )
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
    data = ImageDataset(str(tmp_path), '', source=source)
    assert [data.source.key(i) for i in range(2)] == ['a/0.png', 'b/2.png']
    assert (data.labels, len(data.classes)) == ([5, 999], 1000)
    assert data.name(1) == str(tmp_path / 'b/2.png')


@pytest.fixture
def listed(tmp_path):
    """Return a folder of two classes whose images have names of their own, as ImageNet's."""
    for key in ('n01/n01_1', 'n01/n01_2', 'n02/n02_1', 'n02/n02_7', 'n02/x/n02_8'):
        (tmp_path / 'train' / key).parent.mkdir(parents=True, exist_ok=True)
        make_image().save(tmp_path / f'train/{key}.png')
    return tmp_path


def write(folder, *lines):
    (folder / '1percent.txt').write_text(''.join(f'{line}\n' for line in lines))


@pytest.mark.parametrize('place', ['1percent.txt', '{}/1percent.txt'])
def test_simclrs_lists_keep_names_and_all_classes(listed, place):
    write(listed, 'n02_8.png', '', 'n02/n02_1.png')
    data = ImageDataset(str(listed), 'train', subset=place.format(listed))
    keys = [data.source.key(i) for i in range(len(data))]
    assert keys == ['n02/n02_1.png', 'n02/x/n02_8.png']
    assert (data.labels, data.classes) == ([1, 1], ('n01', 'n02'))


@pytest.mark.parametrize('method', [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_zips_of_either_method_and_either_map(rows, tmp_path, method):
    with zipfile.ZipFile(tmp_path / 'train.zip', 'w', method) as archive:
        for key, path in rows:
            archive.writestr(f'c{key[1]}/{key}.png', path.read_bytes())
        archive.writestr('notes.txt', 'x')
    data = ImageDataset(
        str(tmp_path), 'train', source=dict(type='ZipSource')
    )  # no map: folders are classes
    assert data.labels == list(range(8))
    assert all(data.read(i) == path.read_bytes() for i, (_, path) in enumerate(rows))
    (tmp_path / 'train_map.txt').write_text('c5/k5.png\t3\nelse.zip@/c1/k1.png\t0\n')
    data = ImageDataset(str(tmp_path), 'train', source=dict(type='ZipSource'))
    assert data.labels == [3, 0]
    assert data.name(1) == f'{tmp_path}/train.zip@/c1/k1.png'
    assert [data.read(i) for i in (0, 1)] == [rows[k][1].read_bytes() for k in (5, 1)]


@pytest.mark.parametrize(('cache', 'kept'), [('no', 0), ('part', 12), ('full', 24)])
def test_the_cache_holds_what_it_says(image_folder, tmp_path, cache, kept, monkeypatch):
    pack(image_folder, tmp_path, '--to', 'zip')
    monkeypatch.setattr(dist, 'rank', lambda: 1)
    monkeypatch.setattr(dist, 'world_size', lambda: 2)
    data = ImageDataset(str(tmp_path), 'train', source=dict(type='ZipSource', cache=cache))
    assert len(data.source.cached) == kept
    assert data.locality == ('rank' if cache == 'part' else None)
    if kept == 12:
        assert sorted(data.source.cached) == list(range(1, 24, 2))
    (tmp_path / 'train.zip').write_bytes(b'')  # what is cached needs no file
    if cache == 'full':
        assert data.read(5) == (image_folder / 'train' / data.source.key(5)).read_bytes()


# recipes on other images than ImageNet-1k ---------------------------------------------------------
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
    assert item['data_samples']['unreadable'] == ''
    assert cfg.val_dataloader.dataset.data_root == 'data/imagenet/'
