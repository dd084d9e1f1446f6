"""Hidden files, files of systems, links and pipes are no data, in every storage."""

import io
import os
import shutil
import socket
import tarfile
import zipfile
from pathlib import Path

import pytest

from mmssl.apis.images import to_list
from mmssl.datasets import ImageDataset
from mmssl.datasets.sources.what_is_data import is_data

from ..helpers.images import make_image
from ..helpers.notices import heard
from ..helpers.packed import pack
from ..helpers.refusals import refuses

CLASSES = ('a', 'b', 'c')
SYSTEM = (
    '.ipynb_checkpoints/0-checkpoint.jpg',
    'a/.ipynb_checkpoints/0-checkpoint.jpg',
    '__MACOSX/a/._0.jpg',
    'a/._0.jpg',
    '@eaDir/0.jpg/SYNOFILE_THUMB_M.jpg',
    'b/@eaDir/0.jpg',
    '.Trash-1000/files/x.png',
    '$RECYCLE.BIN/x.png',
    'c/.thumb.png',
)


def jpeg() -> bytes:
    file = io.BytesIO()
    make_image().save(file, 'JPEG')
    return file.getvalue()


@pytest.fixture
def said(monkeypatch):
    """What is said while a test runs."""
    return heard(monkeypatch)


@pytest.fixture
def folder(tmp_path):
    """Two images of each of three classes."""
    for name in CLASSES:
        for i in range(2):
            file = tmp_path / f'train/{name}/{i}.jpg'
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(jpeg())
    return tmp_path


def add(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b'\0\5\x16\7')


def names_of(data: ImageDataset) -> list[str]:
    return [data.source.key(i) for i in range(len(data))]


def check(data: ImageDataset) -> None:
    """Check that a set has the six images and their labels."""
    assert names_of(data) == [f'{name}/{i}.jpg' for name in CLASSES for i in range(2)]
    assert list(data.labels) == [0, 0, 1, 1, 2, 2]


def test_names():
    assert not any(map(is_data, (*SYSTEM, 'Thumbs.db', '.DS_Store', 'a.txt', 'lost+found/x.jpg')))
    assert all(map(is_data, ('a/0.jpg', './a/0.JPEG', '../b/x.y.png', 'a/__x/0.tif')))
    assert is_data('/home/x/.data/0.jpg') and not is_data('/data/._0.jpg')


@pytest.mark.parametrize('name', SYSTEM)
def test_in_folders(folder, said, name):
    add(folder / 'train', name, 'Thumbs.db')
    for _ in range(2):
        data = ImageDataset(str(folder), 'train')
        check(data)
    assert data.classes == CLASSES
    assert len(said) == 1 and name.partition('/')[0] in said[0] and 'Thumbs.db' in said[0]


def test_a_data_set_may_lie_in_a_hidden_folder(folder, said):
    hidden = folder.rename(folder.with_name('.cache'))
    check(ImageDataset(str(hidden), 'train'))
    (hidden / 'train.txt').write_text(f'{hidden}/train/a/0.jpg 3\n')
    assert ImageDataset(str(hidden), 'train', ann_file='train.txt').labels == [3]
    assert said == []


@pytest.mark.parametrize('mapped', [False, True])
def test_in_zips(folder, said, mapped):
    add(folder / 'train', *SYSTEM)
    files = sorted(path for path in (folder / 'train').rglob('*') if path.is_file())
    with zipfile.ZipFile(folder / 'train.zip', 'w') as archive:
        for path in files:
            archive.write(path, path.relative_to(folder / 'train').as_posix())
    if mapped:
        label = {'a': 0, 'b': 1, 'c': 2}
        rows = [path.relative_to(folder / 'train').as_posix() for path in files]
        lines = [f'{row}\t{label.get(row[0], 3)}\n' for row in rows]
        (folder / 'train_map.txt').write_text(''.join(lines))
    check(ImageDataset(str(folder), 'train', source=dict(type='ZipSource')))
    assert len(said) == 1 and 'and 6 more' in said[0]


def test_in_shards(folder, said):
    with tarfile.open(folder / 'train-0.tar', 'w') as tar:
        for name in ('._0.jpg', '__MACOSX/a/._0.jpg', '.ipynb_checkpoints/0-checkpoint.jpg'):
            tar.addfile(tarfile.TarInfo(name), io.BytesIO())
        for name in CLASSES:
            for i in range(2):
                tar.add(folder / f'train/{name}/{i}.jpg', f'{name}/{i}.jpg')
                label = tarfile.TarInfo(f'{name}/{i}.cls')
                label.size = 1
                tar.addfile(label, io.BytesIO(str(CLASSES.index(name)).encode()))
                tar.addfile(tarfile.TarInfo(f'{name}/._{i}.jpg'), io.BytesIO())
    pack('--index', folder / 'train-0.tar')
    data = ImageDataset(str(folder), '', source=dict(type='ShardSource', split='train'))
    check(data)
    assert data.read(5) == (folder / 'train/c/1.jpg').read_bytes()
    assert len(said) == 1 and '9 ' not in said[0] and 'and 6 more' in said[0]


@pytest.mark.parametrize('form', ['zip', 'lmdb', 'shards', 'tsv', 'folder'])
def test_packed_copies_and_their_lists_have_none(folder, tmp_path, form, capsys):
    add(folder / 'train', *SYSTEM)
    out = tmp_path / 'packed'
    pack(folder, out, '--to', form)
    assert 'wrote 6 images of 3 classes' in capsys.readouterr().out
    if form == 'lmdb':
        lines = 'a/0.jpg 0\n._0.jpg 0\n.ipynb_checkpoints/a/0.jpg 3\nb/0.jpg 1\n'
        (out.parent / 'list.txt').write_text(lines)
        data = ImageDataset(str(folder), 'train', ann_file=str(out.parent / 'list.txt'))
        assert (names_of(data), data.labels) == (['a/0.jpg', 'b/0.jpg'], [0, 1])


def test_for_inference(folder):
    add(folder / 'train', 'a/._0.jpg')
    assert [path.name for path in to_list(folder / 'train/a')] == ['0.jpg', '1.jpg']


def test_a_stray_image_is_named(folder, said):
    shutil.copy(folder / 'train/a/0.jpg', folder / 'train/overview.jpg')
    data = ImageDataset(str(folder), 'train')
    assert (len(data), list(data.labels)) == (7, [])
    assert len(said) == 1 and 'overview.jpg' in said[0]
    assert (
        data.describe().startswith('7 images without labels') and 'overview.jpg' in data.describe()
    )
    with zipfile.ZipFile(folder / 'train.zip', 'w') as archive:
        for path in (folder / 'train').rglob('*.jpg'):
            archive.write(path, path.relative_to(folder / 'train').as_posix())
    data = ImageDataset(str(folder), 'train', source=dict(type='ZipSource'))
    assert len(said) == 2 and 'train.zip' in said[1] and 'overview.jpg' in said[1]


def test_a_flat_folder_needs_no_word(folder, said):
    assert len(ImageDataset(str(folder / 'train/a'))) == 2
    assert said == []


# links and what is no file ------------------------------------------------------------------------
CYCLES = {
    'to the folder above': (('a/up', '..'),),
    'to itself': (('a/self', '.'),),
    'to the data root': (('a/root', '../..'),),
    'two, each to the folder above': (('a/up', '..'), ('b/up', '..')),
    'to each other': (('a/side', '../b'), ('b/side', '../a')),
    'to a class that comes later': (('a/side', '../c'),),
    'of links': (('a/x', 'y'), ('a/y', 'x')),
}


@pytest.mark.parametrize('links', CYCLES.values(), ids=CYCLES)
def test_each_real_folder_is_read_once(folder, said, links):
    (folder / 'val').mkdir()
    shutil.copy(folder / 'train/a/0.jpg', folder / 'val')
    for name, target in links:
        os.symlink(target, folder / 'train' / name)
    check(ImageDataset(str(folder), 'train'))
    if links != CYCLES['of links']:
        assert len(said) == 1 and links[0][0] in said[0]


def test_links_to_folders_and_files_are_followed(folder, tmp_path, said):
    subset = tmp_path / 'subset/train'
    subset.mkdir(parents=True)
    for name in CLASSES[:2]:
        os.symlink(folder / 'train' / name, subset / name)
    (subset / 'c').mkdir()
    os.symlink(folder / 'train/c/0.jpg', subset / 'c/0.jpg')
    os.symlink(folder / 'train/c/gone.jpg', subset / 'c/gone.jpg')
    data = ImageDataset(str(subset.parent), 'train')
    assert names_of(data) == ['a/0.jpg', 'a/1.jpg', 'b/0.jpg', 'b/1.jpg', 'c/0.jpg', 'c/gone.jpg']
    assert list(data.labels) == [0, 0, 1, 1, 2, 2]
    assert said == []


def test_pipes_and_sockets_are_no_data(folder, said):
    os.mkfifo(folder / 'train/a/pipe.jpg')
    with socket.socket(socket.AF_UNIX) as server:
        here = os.open(folder / 'train/b', os.O_RDONLY)
        server.bind(f'/proc/self/fd/{here}/socket.png')
        os.close(here)
    check(ImageDataset(str(folder), 'train'))
    assert len(said) == 1 and 'a/pipe.jpg, b/socket.png' in said[0]


def test_a_listed_pipe_does_not_wait(folder):
    os.mkfifo(folder / 'train/a/pipe.jpg')
    (folder / 'list.txt').write_text('a/pipe.jpg\n')
    data = ImageDataset(str(folder), 'train', ann_file='list.txt')
    with pytest.raises(Exception, match='not a regular file'):
        data.read(0)


def test_a_folder_that_cannot_be_listed(folder, monkeypatch):
    scandir = os.scandir

    def refusing(path):
        if str(path).endswith('/b'):
            raise PermissionError(13, 'Permission denied')
        return scandir(path)

    monkeypatch.setattr(os, 'scandir', refusing)
    with refuses('folder', str(folder / 'train/b')):
        ImageDataset(str(folder), 'train')


# folders around class folders ------------------------------------------------------------------
AROUND = {
    'one around': (['train/a/0.jpg', 'train/b/x/1.jpg', 'train/b/2.jpg'], ('a', 'b'), [0, 1, 1]),
    'two around': (['x/y/a/0.jpg', 'x/y/b/1.jpg'], ('a', 'b'), [0, 1]),
    'called images': (['images/a/0.jpg', 'images/b/1.jpg'], ('a', 'b'), [0, 1]),
    'no classes in it': (['a/0.jpg', 'a/1.jpg'], ('a',), [0, 0]),
    'one class as Tiny-ImageNet has it': (['a/images/0.jpg', 'a/images/1.jpg'], ('a',), [0, 0]),
    'an image among its folders': (['a/x/0.jpg', 'a/y/1.jpg', 'a/2.jpg'], ('a',), [0, 0, 0]),
    'none': (['a/x/0.jpg', 'a/y/1.jpg', 'b/z/2.jpg'], ('a', 'b'), [0, 0, 1]),
}


@pytest.mark.parametrize('kind', ['FolderSource', 'ZipSource'])
@pytest.mark.parametrize('name', AROUND)
def test_a_folder_around_class_folders_is_no_class(tmp_path, said, kind, name):
    keys, classes, labels = AROUND[name]
    for key in keys:
        (tmp_path / 'train' / key).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / 'train' / key).write_bytes(jpeg())
    with zipfile.ZipFile(tmp_path / 'train.zip', 'w') as archive:
        for key in keys:
            archive.write(tmp_path / 'train' / key, key)
    images = ImageDataset(str(tmp_path), 'train', source=dict(type=kind))
    found = {images.source.key(i): images.labels[i] for i in range(len(images))}
    assert (images.classes, found) == (classes, dict(zip(keys, labels, strict=True)))
    moved = name in ('one around', 'two around', 'called images')
    assert [text.partition('below ')[2].partition(':')[0] for text in said] == (
        [keys[0].rpartition('a/')[0]] if moved else []
    )
