"""Streams of Hugging Face: every row once, in an order of (seed, epoch), found again by state."""

import json
from collections import Counter
from itertools import takewhile

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from mmssl.core import dist
from mmssl.core.errors import NoData
from mmssl.data_report.measurements import chunks
from mmssl.datasets import EpochSampler, ImageDataset, RepeatAugSampler
from mmssl.datasets.sampler import ResumableSampler
from mmssl.datasets.sources import BrokenStream, ConcatSource
from mmssl.datasets.sources.huggingface_stream import Stream
from mmssl.datasets.view_seed import view_seed

from ..helpers.refusals import refuses
from ..helpers.views import PIPELINE, same

SIZES = (7, 5, 9, 3)  # rows of each file


@pytest.fixture
def library(tmp_path, monkeypatch):
    """The library, with a cache of its own, no bar and no network."""
    datasets = pytest.importorskip('datasets')
    monkeypatch.setattr(datasets.config, 'HF_DATASETS_CACHE', tmp_path / 'cache')
    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_OFFLINE', True)
    monkeypatch.setattr(datasets.config, 'HF_HUB_OFFLINE', True)
    datasets.disable_progress_bars()
    return datasets


@pytest.fixture
def folders(image_folder):
    return ImageDataset(str(image_folder), 'train', pipeline=PIPELINE, seed=4)


@pytest.fixture
def root(library, folders, tmp_path):
    """The 24 images in four Parquet files."""
    begin = 0
    (tmp_path / 'stream').mkdir()
    for number, size in enumerate(SIZES):
        images = [folders.read(i) for i in range(begin, begin + size)]
        table = pa.table(dict(image=pa.array(images, pa.binary()), label=[0] * size))
        file = tmp_path / 'stream' / f'train-{number}.parquet'
        pq.write_table(table, file, row_group_size=2)
        begin += size
    return tmp_path / 'stream'


def of(root, **more):
    source = dict(type='HuggingFaceStream', **(dict(length=24) | more))
    return ImageDataset(str(root), 'train', source=source, pipeline=PIPELINE, seed=4)


def sampled(data, monkeypatch, rank=0, world=1, batch=2, workers=1):
    monkeypatch.setattr(dist, 'rank', lambda: rank)
    monkeypatch.setattr(dist, 'world_size', lambda: world)
    sampler = EpochSampler(data, seed=4)
    sampler.serve(batch, workers)
    return sampler


def contents(data, epoch, indices):
    """Return the image files that a process reads."""
    data.source.set_order(data.seed, epoch)
    return [data.read(i) for i in indices]


@pytest.mark.parametrize('streams', [1, 2, 4, 5, 9])
def test_a_round_of_all_streams_has_every_row_once(root, folders, streams):
    """Of as many files as streams, more, or fewer."""
    data = of(root).source
    for number in (0, 1):
        at = dict(seed=4, epoch=1, streams=streams, begin=0, round=number, file=0, rows=None)
        rounds = [
            list(takewhile(lambda row: row, Stream(data.data, 3, at | dict(stream=i)).rows))
            for i in range(streams)
        ]
        found = Counter(row['image'] for rows in rounds for row in rows)
        assert found == Counter(folders.read(i) for i in range(24))


@pytest.mark.parametrize('buffer', [1, 5, 1000])
@pytest.mark.parametrize(('world', 'workers', 'left'), [(1, 1, 0), (2, 1, 0), (2, 3, 0), (1, 5, 4)])
def test_rows_are_dealt_out_to_workers(root, folders, monkeypatch, buffer, world, workers, left):
    everything = {folders.read(i) for i in range(24)}
    for epoch in (0, 1):
        found = []
        for rank in range(world):
            data = of(root, buffer=buffer)
            sampler = sampled(data, monkeypatch, rank, world, 2, workers)
            order = [i for _, i in sampler]
            batches = [order[at : at + 2] for at in range(0, len(order), 2)]
            streams = [{i % (world * workers) for i in batch} for batch in batches]
            assert streams == [
                {rank * workers + at % workers} for at in range(len(batches))
            ]  # a batch is of one worker
            found += contents(data, epoch, order)
        assert len(found) == 24 - left
        assert set(found) <= everything
        if world * workers == 1:
            assert set(found) == everything


def test_orders_differ_by_seed_and_epoch_alone(root, monkeypatch):
    def order(seed, epoch):
        data = of(root, buffer=4)
        data.seed = seed
        sampled(data, monkeypatch)
        return contents(data, epoch, range(24))

    orders = [order(seed, epoch) for seed in (0, 1) for epoch in (0, 1)]
    assert len({tuple(found) for found in orders}) == 4
    assert len({frozenset(found) for found in orders}) == 1
    assert order(1, 1) == orders[3]
    assert order(1, 1) != sorted(orders[3])


def test_views_follow_from_seed_epoch_and_index(root, folders, monkeypatch):
    """The view of image i is that of any data set whose image i has the same bytes."""
    data = of(root, buffer=5)
    sampled(data, monkeypatch)
    order = contents(data, 2, range(24))
    place = {folders.read(i): i for i in range(24)}
    folders.indices = folders.indices[[place[content] for content in order]]
    folders.labels = folders.classes = []
    got = [data[2, i] for i in range(24)]
    for item in got:
        item['data_samples']['label'] = 0
    expected = [folders[2, i] for i in range(24)]
    for item in expected:
        item['data_samples']['label'] = 0
    same(got, expected)
    assert view_seed(4, 2, 3) == '4-2-3'


@pytest.mark.parametrize('workers', [1, 2, 7])
@pytest.mark.parametrize('done', [0, 2, 4, 6, 8, 14, 20])
def test_a_state_leads_to_the_same_place(root, monkeypatch, workers, done):
    whole = of(root, buffer=3)
    sampler = sampled(whole, monkeypatch, workers=workers)
    order = [i for _, i in sampler]
    items = [whole[1, i] for i in order]
    states = {}
    for item in items[:done]:
        if text := item['data_samples']['stream']:
            states[json.loads(text)['stream']] = text
    rest = of(root, buffer=3)
    again = sampled(rest, monkeypatch, workers=workers)
    again.seek(1, done)
    rest.resume_stream(list(states.values()))
    same_views([rest[1, i] for _, i in again], items[done:])


def same_views(ours, theirs):
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        assert all(torch.equal(x, y) for x, y in zip(a['inputs'], b['inputs'], strict=True))
        assert a['data_samples']['index'] == b['data_samples']['index']


def test_files_that_are_past_are_not_opened_again(root, monkeypatch):
    data = of(root, buffer=3)
    sampled(data, monkeypatch)
    items = [data[0, i] for i in range(24)]
    states = [item['data_samples']['stream'] for item in items]
    assert [i for i, text in enumerate(states) if text] == list(range(0, 24, 3))
    assert json.loads(states[21])['file'] == 3  # the last of four files
    expected = data.read(23)
    rest, without = of(root, buffer=3), of(root, buffer=3)
    sampled(rest, monkeypatch)
    for path in root.iterdir():
        if expected not in pq.read_table(path)['image'].to_pylist():
            path.unlink()
    rest.resume_stream([states[21]])
    assert contents(rest, 0, [23]) == [expected]
    with refuses('stream', str(root), BrokenStream) as caught:
        contents(without, 0, [23])
    assert 'FileNotFoundError' in str(caught.value)


@pytest.mark.parametrize('other', ['seed', 'epoch', 'streams'])
def test_a_state_of_another_order_is_not_used(root, monkeypatch, other):
    data = of(root, buffer=3)
    sampled(data, monkeypatch)
    expected = contents(data, 0, range(24))
    data.source.set_order(4, 0)
    state = json.loads(data.source.state(9)) | {other: 3}
    rest = of(root, buffer=3)
    sampled(rest, monkeypatch)
    rest.resume_stream([json.dumps(state)])
    assert contents(rest, 0, range(9, 24)) == expected[9:]


def test_an_epoch_longer_than_the_stream_begins_again(root, monkeypatch):
    data = of(root, length=60, buffer=4)
    sampled(data, monkeypatch)
    found = contents(data, 0, range(60))
    assert len(set(found[:24])) == len(set(found[24:48])) == 24
    assert found[:24] != found[24:48]
    assert len(set(found[48:])) == 12


def test_an_unreadable_row_is_replaced_within_its_window(library, folders, tmp_path, monkeypatch):
    images = [folders.read(i) for i in range(6)]
    table = pa.table(dict(image=pa.array([*images[:5], b'no image'], pa.binary())))
    pq.write_table(table, tmp_path / 'train-0.parquet')
    data = of(tmp_path, length=6)
    sampled(data, monkeypatch)
    found = [data[0, i]['data_samples']['unreadable'] for i in range(6)]
    assert sum(map(bool, found)) == 1
    assert 'of stream 0 in epoch 0' in next(filter(None, found))
    assert [data[0, i]['data_samples']['unreadable'] for i in range(6)] == found


def test_files_beside_the_rows(library, image_folder, folders, monkeypatch):
    """An image folder is streamed too, and a row may hold an address of fsspec's."""
    data = ImageDataset(
        str(image_folder), 'train', source=dict(type='HuggingFaceStream', length=24), seed=4
    )
    sampled(data, monkeypatch)
    assert sorted(contents(data, 0, range(24))) == sorted(folders.read(i) for i in range(24))
    memory = fsspec.filesystem('memory')
    memory.pipe('/bucket/a.png', folders.read(0))
    window = data.source._stream(0)[0].window
    window[0] = dict(image=dict(bytes=None, path='memory://bucket/a.png'))
    assert data.read(0) == folders.read(0)


# refusals -----------------------------------------------------------------------------------------
def test_a_stream_without_a_length(root):
    with refuses('dataset.source.length'):
        of(root, length=None)
    with refuses('dataset.source.length', 0):
        of(root, length=0)
    with refuses('dataset.source.buffer', 0):
        of(root, buffer=0)


def test_a_probe_of_a_stream_has_no_labels(root):
    data = of(root)
    assert (data.labels, data.classes) == ([], ())
    assert data.source.unlabelled in data.describe() and '24' in data.describe()


def test_the_length_that_a_data_set_knows(root):
    (root / 'README.md').write_text(
        '---\ndataset_info:\n  features:\n  - name: image\n    dtype: binary\n  - name: label\n'
        '    dtype: int64\n  splits:\n  - name: train\n    num_examples: 24\n'
        'configs:\n- config_name: default\n  data_files:\n  - split: train\n'
        '    path: train-*\n---\n'
    )
    assert len(of(root, length=None)) == 24


@pytest.mark.parametrize(
    ('use', 'key', 'value'),
    [
        (lambda d: EpochSampler(d, shuffle=False), 'sampler.type', 'EpochSampler(shuffle=False)'),
        (lambda d: RepeatAugSampler(d), 'sampler.type', 'RepeatAugSampler'),
        (lambda d: ResumableSampler(d, dict(type='DefaultSampler')), 'sampler.type',
         'DefaultSampler'),
        (chunks, 'dataset.source.type', 'HuggingFaceStream'),
    ],
    ids=['evaluation and banks', 'repeated augmentation', 'other samplers', 'mmssl data'],
)  # fmt: skip
def test_what_needs_images_by_number(root, use, key, value):
    with refuses(key, value):
        use(of(root))


@pytest.mark.parametrize(('key', 'value'), [('share', (0, 0.5)), ('per_class', 3)])
def test_parts_of_a_stream(root, key, value):
    source = dict(type='HuggingFaceStream', length=24)
    with refuses(f'dataset.{key}', value):
        ImageDataset(str(root), 'train', source=source, **{key: value})


@pytest.mark.parametrize('wrapped', [False, True])
def test_class_balance_and_other_sources(root, wrapped):
    source = dict(type='HuggingFaceStream', length=24)
    part = dict(type='ImageDataset', source=source) if wrapped else source
    with refuses('dataset.source.sources', 'HuggingFaceStream'):
        ConcatSource(str(root), 'train', sources=[part], balance=0.1)


def test_what_the_library_does_not_have(library, root, tmp_path, monkeypatch):
    with refuses('dataset.split', 'x'):
        ImageDataset(str(root), 'x', source=dict(type='HuggingFaceStream', length=3))
    with refuses('dataset.source.image', 'label'):
        of(root, image='label')
    with refuses('folder', str(tmp_path / 'none'), NoData):
        of(tmp_path / 'none')
    library.Dataset.from_dict(dict(image=[b'1'])).save_to_disk(str(tmp_path / 'disk'))
    with refuses('dataset.source.type', 'HuggingFaceStream'):
        of(tmp_path / 'disk')


@pytest.mark.parametrize(
    'text',
    [
        '[]', '{}', 'x', '{"stream": 0}',
        '{"seed":0,"epoch":0,"streams":1,"stream":0,"begin":-1,"round":0,"file":0,"rows":null}',
        '{"seed":0,"epoch":0,"streams":1,"stream":0,"begin":1,"round":0,"file":0,"rows":[]}',
    ],
)  # fmt: skip
def test_states_that_are_none(root, text):
    with pytest.raises(ValueError):
        of(root).resume_stream([text])


def test_a_state_that_the_library_cannot_use(root, monkeypatch):
    data = of(root)
    sampled(data, monkeypatch)
    state = dict(seed=4, epoch=0, streams=1, stream=0, begin=0, round=0, file=0, rows=dict(a=1))
    data.resume_stream([json.dumps(state)])
    with refuses('stream', str(root), BrokenStream):
        contents(data, 0, [0])


def test_a_stream_without_rows(root, monkeypatch):
    for path in sorted(root.iterdir())[1:]:
        path.unlink()
    table = pq.read_table(root / 'train-0.parquet')
    data = of(root)
    pq.write_table(table.slice(0, 0), root / 'train-0.parquet')
    sampled(data, monkeypatch)
    with refuses('stream', str(root), BrokenStream):
        contents(data, 0, [0])
