"""TorchvisionSource gives what torchvision's own classes give, and refuses the rest in one line."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torchvision
from PIL import Image
from torchvision.datasets import CIFAR10, STL10, FakeData, Flowers102, ImageFolder

from mmssl.core.errors import NoData
from mmssl.datasets import ImageDataset
from mmssl.datasets.sources.torchvision import UNCHECKED_PICKLES, file_of_image
from mmssl.datasets.transforms import LoadImage

from ..helpers import torchvision_files as files
from ..helpers.packed import pack, served
from ..helpers.refusals import refuses
from ..helpers.views import PIPELINE, items, same


def ours(root, split='', **source):
    settings = dict(type='TorchvisionSource', **source)
    return ImageDataset(str(root), split, source=settings, pipeline=PIPELINE, seed=4)


def check(data, theirs, labelled=True):
    """Compare images, labels and class names with those of torchvision's own object."""
    assert len(data) == len(theirs) > 0
    for i in range(len(theirs)):
        image, label = theirs[i]
        found = LoadImage()(dict(path='', bytes=data.read(i)))['image'].pil
        np.testing.assert_array_equal(np.asarray(found), np.asarray(image.convert('RGB')))
        if labelled:
            assert data.labels[i] == label
    assert len({data.source.key(i) for i in range(len(data))}) == len(data)


@pytest.mark.parametrize('split', ['train', 'test'])
def test_cifar10(tmp_path, monkeypatch, split):
    files.write_cifar10(tmp_path, monkeypatch)
    data = ours(tmp_path, split, name='CIFAR10')
    check(data, CIFAR10(tmp_path, train=split == 'train'))
    assert data.classes == ('blue', 'green', 'red')
    assert data.source.key(0) == ('blue/000000.png' if split == 'train' else 'red/000000.png')


@pytest.mark.parametrize('split', ['train', 'val', 'test'])
def test_flowers(tmp_path, monkeypatch, split):
    files.write_flowers(tmp_path, monkeypatch)
    data = ours(tmp_path, split, name='Flowers102')
    check(data, Flowers102(tmp_path, split))
    assert data.classes == tuple(Flowers102.classes)
    file = Path(data.name(0))
    assert file.parent == tmp_path / 'flowers-102/jpg'
    assert data.read(0) == file.read_bytes()  # the file, not its pixels written again


@pytest.mark.parametrize('split', ['train', 'test', 'unlabeled', 'train+unlabeled'])
def test_stl10(tmp_path, monkeypatch, split):
    files.write_stl10(tmp_path, monkeypatch)
    data = ours(tmp_path, split, name='STL10')
    labelled = 'unlabeled' not in split
    check(data, STL10(tmp_path, split), labelled)
    assert data.classes == (('airplane', 'bird', 'car') if labelled else ())
    assert bool(data.source.unlabelled) is not labelled
    assert ('label' in data[0]['data_samples']) is labelled


def test_image_folder_gives_the_views_of_our_folders(image_folder):
    data = ours(image_folder, 'train', name='ImageFolder')
    folders = ImageDataset(str(image_folder), 'train', pipeline=PIPELINE, seed=4)
    check(data, ImageFolder(image_folder / 'train'))
    assert data.classes == folders.classes
    keys = [data.source.key(i) for i in range(len(data))]
    assert keys == [folders.source.key(i) for i in range(len(data))]
    same(items(data), items(folders))


def test_fake_data():
    args = dict(size=6, image_size=(3, 20, 24), num_classes=4)
    data = ours('', name='FakeData', args=args)
    check(data, FakeData(**args))
    assert data.classes == tuple(map(str, range(max(data.labels) + 1)))
    plain = ImageDataset(
        source=dict(type='TorchvisionSource', name='FakeData', args=args), with_label=False
    )
    assert (plain.labels, plain.classes) == ([], ())


@pytest.mark.parametrize('form', ['folder', 'zip', 'tsv', 'shards'])
def test_copies_give_identical_views(tmp_path, monkeypatch, form):
    files.write_cifar10(tmp_path, monkeypatch)
    source = ['--source', 'TorchvisionSource', '--source-options', 'name=CIFAR10']
    pack(tmp_path, tmp_path / 'out', *source, '--to', form)
    readers = dict(folder='FolderSource', zip='ZipSource', tsv='TsvSource', shards='ShardSource')
    settings = dict(source=dict(type=readers[form]), pipeline=PIPELINE, seed=4)
    copy = ImageDataset(str(tmp_path / 'out'), 'train', **settings)
    data = ours(tmp_path, 'train', name='CIFAR10')
    keys = [data.source.key(i) for i in range(len(data))]
    place = {copy.source.key(i): i for i in range(len(copy))}
    if form == 'folder':  # by name
        assert sorted(keys) == sorted(place)
        assert all(copy.labels[place[k]] == y for k, y in zip(keys, data.labels, strict=True))
    else:
        same(items(copy), items(data))


def test_download_is_whole_or_leaves_nothing(tmp_path, monkeypatch):
    files.write_cifar10(tmp_path / 'web', monkeypatch)
    root = tmp_path / 'data'
    with served(tmp_path / 'web') as address:
        files.pack_cifar10(tmp_path / 'web', monkeypatch, address)
        url = CIFAR10.url
        monkeypatch.setattr(CIFAR10, 'url', f'{address}/gone.tar.gz')
        with refuses('folder', str(root)) as caught:
            ours(root, 'train', name='CIFAR10', download=True)
        assert '404' in str(caught.value)
        assert [path.name for path in root.iterdir()] == ['.CIFAR10.lock']
        monkeypatch.setattr(CIFAR10, 'url', url)
        data = ours(root, 'train', name='CIFAR10', download=True)
    check(data, CIFAR10(root))
    assert len(ours(root, 'train', name='CIFAR10', download=True)) == len(data)  # no network now
    with refuses('folder', str(tmp_path / 'other')):
        ours(tmp_path / 'other', 'train', name='CIFAR10', download=True)
    assert [path.name for path in (tmp_path / 'other').iterdir()] == ['.CIFAR10.lock']


def test_a_file_of_another_hash_is_not_unpickled(tmp_path, monkeypatch):
    folder = files.write_cifar10(tmp_path, monkeypatch)
    command = f'cos\nsystem\n(Vtouch {tmp_path}/ran\ntR.'.encode()
    (folder / 'data_batch_3').write_bytes(command)
    with refuses('folder', str(tmp_path), NoData):
        ours(tmp_path, 'train', name='CIFAR10')
    assert not (tmp_path / 'ran').exists()


def test_every_class_that_unpickles_unchecked_is_known():
    """Of this version of torchvision: modules that call an unpickler, but CIFAR's."""
    folder = Path(torchvision.datasets.__file__).parent
    call = re.compile(r'pickle\.loads?\(|allow_pickle=True|torch\.load\((?!.*weights_only=True)')
    found = {p.stem for p in folder.glob('*.py') if call.search(p.read_text())}
    assert found == {'cifar', 'lsun'}
    assert {getattr(torchvision.datasets, n).__module__ for n in UNCHECKED_PICKLES} == {
        'torchvision.datasets.lsun'
    }


REFUSED = {
    'a name': (dict(name='CIFAR11'), '', 'dataset.source.name', 'CIFAR11'),
    'a split': (dict(name='STL10'), 'val', 'dataset.split', 'val'),
    'a split of CIFAR': (dict(name='CIFAR10'), 'val', 'dataset.split', 'val'),
    'a split of none': (dict(name='FakeData'), 'train', 'dataset.split', 'train'),
    'an argument': (dict(name='STL10', args=dict(fold=1)), '', 'dataset.source.args',
                    dict(fold=1)),
    'a value': (dict(name='STL10', args=dict(folds=11)), '', 'dataset.source.args', None),
    'pickles': (dict(name='LSUN'), '', 'dataset.source.allow_pickle', False),
    'a download that is none': (
        dict(name='FakeData', download=True), '', 'dataset.source.download', True),
    'videos': (dict(name='FakeData', args=dict(size=0)), '', 'folder', '@'),
    'no files': (dict(name='Flowers102'), 'train', 'folder', '@'),
}  # fmt: skip


@pytest.mark.parametrize(('source', 'split', 'key', 'value'), REFUSED.values(), ids=REFUSED)
def test_refusals(tmp_path, source, split, key, value):
    if key == 'dataset.source.args' and value is None:
        value = dict(folds=11, root=str(tmp_path))
    with refuses(key, str(tmp_path) if value == '@' else value):
        ours(tmp_path, split, **source)


def test_a_library_that_is_missing(tmp_path, monkeypatch):
    files.write_flowers(tmp_path, monkeypatch)
    monkeypatch.setitem(sys.modules, 'scipy.io', None)
    with refuses('scipy') as caught:
        ours(tmp_path, 'train', name='Flowers102')
    assert 'pip install scipy' in str(caught.value)
    monkeypatch.setitem(sys.modules, 'h5py', None)
    with refuses('h5py') as caught:
        ours(tmp_path, 'train', name='PCAM')
    assert 'pip install h5py' in str(caught.value)


def test_items_that_are_no_image_and_label(monkeypatch):
    for item in ((1, 2, 3), ('a', 'b', 'c'), 7):
        monkeypatch.setattr(FakeData, '__getitem__', lambda *_, item=item: item)
        with refuses('dataset.source.name', 'FakeData'):
            ours('', name='FakeData')
    monkeypatch.setattr(FakeData, '__getitem__', lambda *_: (np.zeros((2, 2, 2, 3)), 1))
    with refuses('dataset.source.name', 'FakeData') as caught:
        ours('', name='FakeData')
    assert '(2, 2, 2, 3)' in str(caught.value)


@pytest.mark.parametrize('mode', ['1', 'L', 'LA', 'P', 'RGB', 'RGBA', 'I;16'])
def test_images_of_every_mode_keep_their_pixels(mode):
    if mode == 'I;16':
        image = Image.fromarray(np.arange(0, 60_000, 100, dtype=np.uint16).reshape(20, 30))
    else:
        image = files.make_image((30, 20)).convert(mode)
    found = LoadImage().open(file_of_image(image), '').pil
    expected = LoadImage().open(_png(image), '').pil
    np.testing.assert_array_equal(np.asarray(found), np.asarray(expected))


def _png(image):
    import io

    file = io.BytesIO()
    image.save(file, 'PNG')
    return file.getvalue()
