"""Parquet files and data sets of Hugging Face: equal views, each row group read once."""

import json
import sys
from collections import Counter

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from torch.utils.data import DataLoader

from mmssl.core.errors import NoData
from mmssl.datasets import EpochSampler, ImageDataset
from mmssl.datasets.sources import UnreadableImage
from mmssl.datasets.sources import parquet as parquets

from ..helpers.packed import pack, served
from ..helpers.refusals import refuses
from ..helpers.views import PIPELINE, items, same

PARQUET = dict(type='ParquetSource')
HUB = dict(type='HuggingFaceSource')


def of(root, split='train', source=PARQUET, **more):
    return ImageDataset(str(root), split, source=dict(source, **more), pipeline=PIPELINE, seed=4)


@pytest.fixture(scope='module')
def folders(image_folder):
    return ImageDataset(str(image_folder), 'train', pipeline=PIPELINE, seed=4)


def rows_of(folders, **columns):
    """Return a table of the images with the given columns of labels."""
    images = [folders.read(i) for i in range(len(folders))]
    return pa.table(dict(image=pa.array(images, pa.binary()), **columns))


# Parquet ------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    'name', ['train.parquet', 'train/0.parquet', 'train-00000-of-1.parquet', 'data/train-0.parquet']
)
def test_files_of_every_layout(folders, tmp_path, name):
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(rows_of(folders, label=folders.labels), tmp_path / name, row_group_size=5)
    data = of(tmp_path)
    assert data.labels == folders.labels
    assert data.source.shards == [5, 5, 5, 5, 4]
    same(items(data), items(folders))
    assert of(tmp_path / name, '').labels == folders.labels  # a file itself
    keys = [data.source.key(i) for i in range(24)]
    assert keys[0] == '0/00000000.png' and len(set(keys)) == 24


def test_names_are_classes_and_so_are_those_of_hugging_face(folders, tmp_path):
    names = [folders.classes[label] for label in folders.labels]
    pq.write_table(rows_of(folders, animal=names), tmp_path / 'train.parquet')
    named = of(tmp_path, label='animal')
    assert (named.labels, named.classes) == (folders.labels, folders.classes)
    assert of(tmp_path).labels == []  # no column of a usual name
    feature = dict(label=dict(_type='ClassLabel', names=['x', 'y', 'z']))
    meta = {'huggingface': json.dumps(dict(info=dict(features=feature)))}
    table = rows_of(folders, label=folders.labels).replace_schema_metadata(meta)
    pq.write_table(table, tmp_path / 'train.parquet')
    assert of(tmp_path).classes == ('x', 'y', 'z')


def test_rows_without_labels_or_images(folders, tmp_path):
    labels = [None, *folders.labels[1:]]
    table = rows_of(folders, label=pa.array(labels, pa.int64()))
    images = [None, b'', *table['image'].to_pylist()[2:]]
    table = table.set_column(0, 'image', pa.array(images, pa.binary()))
    pq.write_table(table, tmp_path / 'train.parquet')
    data = of(tmp_path)
    assert data.labels == [] and 'empty' in data.source.unlabelled
    for i, fact in ((0, 'no image'), (1, 'empty')):
        with pytest.raises(UnreadableImage) as caught:
            data.read(i)
        assert fact in str(caught.value) and f'row {i} of group 0' in str(caught.value)


@pytest.mark.parametrize('workers', [1, 2])
@pytest.mark.parametrize('window', [4, 1000])
def test_each_row_group_is_read_once_in_an_epoch(folders, tmp_path, monkeypatch, workers, window):
    """By each worker that has a run of its images; a run may end within a group."""
    from mmssl.datasets import sampler as samplers

    pq.write_table(rows_of(folders, label=folders.labels), tmp_path / 'train.parquet',
                   row_group_size=3)  # fmt: skip
    monkeypatch.setattr(parquets, 'WINDOW', window)
    monkeypatch.setattr(samplers, 'WINDOW', window)
    data = of(tmp_path)
    sampler = EpochSampler(data, seed=1)
    sampler.serve(2, workers)
    order = [i for _, i in sampler]
    assert len(set(order)) == len(order) == 24
    batches = [order[at : at + 2] for at in range(0, 24, 2)]
    read = Counter()
    for worker in range(workers):
        rows = parquets.RowGroups(data.source.storage, data.source.groups, 'image')
        rows.files[str(tmp_path / 'train.parquet')] = Counting(tmp_path / 'train.parquet', read)
        for batch in batches[worker::workers]:
            for i in batch:
                cell = rows.get(*data.source.place(i))
                assert cell == folders.read(i)
    assert set(read) == set(range(8))
    assert sum(read.values()) <= 8 + workers - 1


class Counting:
    def __init__(self, path, read):
        self.file = pq.ParquetFile(path)
        self.read = read

    def read_row_group(self, number, columns):
        self.read[number] += 1
        return self.file.read_row_group(number, columns=columns)


def test_files_at_an_address(folders, tmp_path):
    """As hf:// and s3:// are read: by parts of files, in any order, without a copy here."""
    memory = fsspec.filesystem('memory')
    memory.store.clear()
    with memory.open('/bucket/data/train-0.parquet', 'wb') as file:
        pq.write_table(rows_of(folders, label=folders.labels), file, row_group_size=5)
    data = of('memory://bucket')
    assert data.labels == folders.labels
    same(items(data), items(folders))
    data.set_epoch(2)
    loader = DataLoader(data, 6, num_workers=2, collate_fn=list)
    same([item for batch in loader for item in batch], [data[i] for i in range(24)])
    assert data.name(7).startswith('memory://') and 'row 2 of group 1' in data.name(7)
    with refuses('folder', 'memory://nothing', NoData):
        of('memory://nothing')


@pytest.mark.parametrize('address', ['hf://datasets/nobody/nothing', 'nosuch://x'])
def test_an_address_that_leads_nowhere(monkeypatch, address):
    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_OFFLINE', True)
    with refuses('folder', address, NoData):
        of(address)


def test_a_packed_copy_has_the_keys_and_the_columns_of_hugging_face(image_folder, tmp_path):
    pack(image_folder, tmp_path, '--to', 'parquet')
    schema = pq.read_schema(tmp_path / 'train.parquet')
    assert schema.names == ['image', 'label']
    assert [field.name for field in schema.field('image').type] == ['bytes', 'path']
    assert of(tmp_path).source.key(3) == 'blue/3.png'


WRONG = {
    'no files': ({}, {}, 'folder', '@', NoData),
    'no Parquet': ({'train.parquet': b'PAR1 nothing'}, {}, 'file', '@/train.parquet', None),
    'no rows': (dict(image=pa.array([], pa.binary())), {}, 'file', '@/train.parquet', NoData),
    'no column of images': (dict(a=[1, 2]), {}, 'dataset.source.image', '', None),
    'two columns of images': (dict(a=[b'1'], b=[b'2']), {}, 'dataset.source.image', '', None),
    'a column that is no image': (
        dict(a=[b'1'], b=[1]), dict(image='b'), 'dataset.source.image', 'b', None),
    'no such column': (dict(a=[b'1']), dict(image='c'), 'dataset.source.image', 'c', None),
    'no such labels': (dict(a=[b'1']), dict(label='c'), 'dataset.source.label', 'c', None),
    'labels that are no numbers': (
        dict(a=[b'1'], label=[0.5]), {}, 'dataset.source.label', 'label', None),
}  # fmt: skip


@pytest.mark.parametrize(('content', 'source', 'key', 'value', 'kind'), WRONG.values(), ids=WRONG)
def test_refusals(tmp_path, content, source, key, value, kind):
    for name, data in content.items():
        if name.endswith('.parquet'):
            (tmp_path / name).write_bytes(data)
    if content and not any(name.endswith('.parquet') for name in content):
        pq.write_table(pa.table(content), tmp_path / 'train.parquet')
    with refuses(key, value.replace('@', str(tmp_path))) as caught:
        of(tmp_path, **source)
    assert kind is None or type(caught.value) is kind


def test_files_of_other_columns(folders, tmp_path):
    (tmp_path / 'train').mkdir()
    pq.write_table(rows_of(folders, label=folders.labels), tmp_path / 'train/0.parquet')
    pq.write_table(rows_of(folders), tmp_path / 'train/1.parquet')
    with refuses('file', str(tmp_path / 'train/1.parquet')):
        of(tmp_path)


def test_without_their_libraries(tmp_path, monkeypatch):
    (tmp_path / 'train.parquet').write_bytes(b'')
    monkeypatch.setitem(sys.modules, 'pyarrow.parquet', None)
    with refuses('pyarrow'):
        of(tmp_path)
    monkeypatch.setitem(sys.modules, 'datasets', None)
    with refuses('datasets'):
        of(tmp_path, source=HUB)


# Hugging Face -------------------------------------------------------------------------------------
@pytest.fixture
def library(tmp_path, monkeypatch):
    """The library, with a cache of its own, no bar and no network."""
    datasets = pytest.importorskip('datasets')
    monkeypatch.setattr(datasets.config, 'HF_DATASETS_CACHE', tmp_path / 'cache')
    monkeypatch.setattr(datasets.config, 'HF_CACHE_HOME', str(tmp_path / 'home'))
    monkeypatch.setattr(datasets.config, 'HF_ENDPOINT', 'http://127.0.0.1:9')
    datasets.disable_progress_bars()
    return datasets


def test_a_folder_of_images(library, image_folder, folders):
    data = of(image_folder, source=HUB)
    assert (data.labels, data.classes) == (folders.labels, folders.classes)
    same(items(data), items(folders))
    with refuses('dataset.split', 'val') as caught:  # which the library calls validation
        of(image_folder, 'val', HUB)
    assert 'validation' in str(caught.value)


def test_arrow_files_on_disk(library, image_folder, folders, tmp_path):
    loaded = library.load_dataset('imagefolder', data_dir=str(image_folder))
    loaded.save_to_disk(str(tmp_path / 'all'))
    loaded['train'].save_to_disk(str(tmp_path / 'one'))
    for root in ('all', 'one'):
        data = of(tmp_path / root, source=HUB)
        assert (data.labels, data.classes) == (folders.labels, folders.classes)
        same(items(data), items(folders))
    half = ImageDataset(str(tmp_path / 'all'), 'train', source=HUB, share=(0, 0.5))
    expected = ImageDataset(str(image_folder), 'train', share=(0, 0.5))
    assert [half.read(i) for i in range(12)] == [expected.read(i) for i in range(12)]


def test_parquet_of_the_library_and_ours(library, image_folder, folders, tmp_path):
    from datasets.table import embed_table_storage

    loaded = library.load_dataset('imagefolder', data_dir=str(image_folder), split='train')
    whole = loaded.with_format('arrow').map(embed_table_storage, batched=True)
    root = tmp_path / 'files'
    root.mkdir()
    whole.to_parquet(str(root / 'train-0.parquet'))
    ours = of(root)
    assert (ours.labels, ours.classes) == (folders.labels, folders.classes)
    same(items(ours), items(folders))
    theirs = of(root, source=HUB)
    same(items(theirs), items(folders))


def test_columns_are_named(library, folders, tmp_path):
    table = rows_of(folders, species=[folders.classes[label] for label in folders.labels])
    library.Dataset(table).save_to_disk(str(tmp_path / 'a'))
    data = of(tmp_path / 'a', '', HUB, label='species')
    assert (data.labels, data.classes) == (folders.labels, folders.classes)
    with refuses('dataset.source.image', 'species'):
        of(tmp_path / 'a', '', HUB, image='species')


# with a network the library asks for the first name again and again, for 20 seconds
@pytest.mark.parametrize(
    ('name', 'network'), [('no such name', True), ('nobody/no-such-set', False)]
)
def test_a_name_that_cannot_be_loaded_leaves_nothing(library, tmp_path, monkeypatch, name, network):
    """The hub is a server that has nothing, or out of reach."""
    (tmp_path / 'web').mkdir()
    with served(tmp_path / 'web') as address:
        monkeypatch.setattr(library.config, 'HF_ENDPOINT', address)
        monkeypatch.setattr('huggingface_hub.constants.ENDPOINT', address)
        monkeypatch.setattr('huggingface_hub.constants.HF_HUB_OFFLINE', not network)
        monkeypatch.setattr(library.config, 'HF_HUB_OFFLINE', not network)
        with refuses('dataset.source.name', name, NoData):
            of(tmp_path, source=HUB, name=name)
    left = [path for path in (tmp_path / 'cache').rglob('*') if path.is_file()]
    assert [path for path in left if path.suffix != '.lock'] == []


def test_a_folder_that_is_not_there(library, tmp_path):
    with refuses('folder', str(tmp_path / 'x'), NoData):
        of(tmp_path / 'x', source=HUB)
    np.save(tmp_path / 'a.npy', np.zeros(3))
    with refuses('folder', str(tmp_path), NoData):
        of(tmp_path, source=HUB)
