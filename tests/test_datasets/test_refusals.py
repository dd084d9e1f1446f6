"""Bad input that data sets, their sources, transforms and writers refuse: its key and value."""

import sys

import pytest
from PIL import Image

from mmssl.core import UserError
from mmssl.core.errors import NoData
from mmssl.datasets import ImageDataset
from mmssl.datasets.packing import FolderWriter, LmdbWriter, ShardWriter, TsvWriter, ZipWriter
from mmssl.datasets.sources import openimages
from mmssl.datasets.sources.tsv import write_index
from mmssl.datasets.transforms import (
    CenterView,
    FinetuneView,
    MultiView,
    PatchMask,
    RandomView,
    SegmentTestView,
    SegmentTrainView,
    TrainView,
)
from mmssl.datasets.transforms.multi_view import build_multi_view

from ..helpers.refusals import refuses

VIEW = dict(type='RandomView')
PLAIN = [dict(type='LoadImage'), dict(type='TrainView')]


# transforms ---------------------------------------------------------------------------------------
TRANSFORMS = {
    'no views': (lambda: MultiView([]), 'views', [], ''),
    'pixels of views': (
        lambda: MultiView([VIEW], pixels='gpu'), 'pixels', 'gpu', 'use fast, exact, device'),
    'pixels with mask': (
        lambda: SegmentTrainView(pixels='device'), 'pixels', 'device', 'fast, exact'),
    'no MultiView': (
        lambda: build_multi_view(PLAIN), 'pipeline', PLAIN, 'LoadImage, TrainView'),
    'interpolation': (
        lambda: RandomView(interpolation='area'), 'interpolation', 'area', 'bilinear, bicubic'),
    'interpolation to evaluate': (
        lambda: CenterView(8, interpolation='x'), 'interpolation', 'x', 'bicubic'),
    'interpolation to segment': (
        lambda: SegmentTestView(interpolation='x'), 'interpolation', 'x', 'bicubic'),
    'interpolation to fine-tune': (
        lambda: FinetuneView(16, interpolation='cubic'), 'interpolation', 'cubic', 'bicubic'),
    'a policy timm does not have': (
        lambda: FinetuneView(16, augment='randaug'), 'augment', 'randaug', 'rand-m9-mstd0.5-inc1'),
    'a resize below the crop': (lambda: CenterView(8, resize=6), 'resize', 6, '8'),
    'scale 0': (lambda: RandomView(scale=(0.0, 1.0)), 'scale', (0.0, 1.0), ''),
    'scale reversed': (lambda: RandomView(scale=(0.5, 0.2)), 'scale', (0.5, 0.2), ''),
    'scale above 1': (lambda: RandomView(scale=(0.5, 1.2)), 'scale', (0.5, 1.2), ''),
    'one scale': (lambda: RandomView(scale=0.5), 'scale', 0.5, ''),
    'a scale of three': (lambda: TrainView(scale=(0.1, 0.2, 1)), 'scale', (0.1, 0.2, 1), ''),
    'scale to fine-tune': (lambda: FinetuneView(16, scale=(0, 1)), 'scale', (0, 1), ''),
    'ratio reversed': (lambda: RandomView(ratio=(2, 1)), 'ratio', (2, 1), ''),
    'no ratio': (lambda: RandomView(ratio=(0, 1)), 'ratio', (0, 1), ''),
    'no blur': (lambda: RandomView(sigma=(0.0, 2.0)), 'sigma', (0.0, 2.0), ''),
    'three amounts of jitter': (
        lambda: RandomView(jitter=(0.4, 0.4, 0.4)), 'jitter', (0.4, 0.4, 0.4), 'hue'),
    'one amount of jitter': (lambda: RandomView(jitter=0.4), 'jitter', 0.4, 'brightness'),
    'an amount below 0': (
        lambda: RandomView(jitter=(0.4, -0.4, 0, 0)), 'jitter', (0.4, -0.4, 0, 0), ''),
    'hue above half': (
        lambda: RandomView(jitter=(0.4, 0.4, 0.4, 0.6)), 'jitter', (0.4, 0.4, 0.4, 0.6), '0.5'),
    **{f'{name} above 1': (lambda name=name: RandomView(**{name: 1.5}), name, 1.5, '0 to 1')
       for name in ('flip', 'jitter_p', 'gray', 'blur', 'solarize')},
    'erase below 0': (lambda: FinetuneView(16, erase=-0.1), 'erase', -0.1, '0 to 1'),
    'a flip that is a word': (lambda: RandomView(flip='0.5'), 'flip', '0.5', ''),
    'size 0': (lambda: RandomView(size=0), 'size', 0, ''),
    'half a pixel': (lambda: CenterView(0.5), 'size', 0.5, ''),
    'size to fine-tune': (lambda: FinetuneView(-16), 'size', -16, ''),
    'a resize of 0': (lambda: CenterView(8, resize=0), 'resize', 0, ''),
    'a resize of 0 to segment': (lambda: SegmentTestView(resize=0), 'resize', 0, ''),
    'no repeats': (lambda: MultiView([dict(VIEW, repeat=0)]), 'repeat', 0, ''),
    'mask ratios and variances': (
        lambda: PatchMask(ratio=(0.1, 0.3), var=(0.1,)), 'ratio', (0.1, 0.3), ''),
    'a mask ratio below its variance': (
        lambda: PatchMask(ratio=(0.0, 0.3), var=(0.0, 0.4)), 'ratio', (0.0, 0.3), '0.4'),
    'a mask ratio above 1': (lambda: PatchMask(ratio=(1.1,), var=(0.0,)), 'ratio', (1.1,), ''),
    'a mask shape': (lambda: PatchMask(shape='ring'), 'shape', 'ring', "'block' or 'rand'"),
}  # fmt: skip


@pytest.mark.parametrize(('make', 'key', 'value', 'fact'), TRANSFORMS.values(), ids=TRANSFORMS)
def test_settings_of_transforms(make, key, value, fact):
    with refuses(key, value) as caught:
        make()
    assert fact in str(caught.value)


def test_one_view_knows_two_ways_to_make_pixels():
    """It alone carries no colours to the device."""
    with refuses('pixels', 'device') as caught:
        TrainView(32, pixels='device')
    assert str(caught.value).endswith('use fast, exact')


# data sets and sources ----------------------------------------------------------------------------
@pytest.fixture
def root(tmp_path):
    """Folders of files that nobody opens: three images of two classes."""
    for name in ('cat/00.png', 'dog/00.PNG', 'dog/01.png'):
        file = tmp_path / 'train' / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text('not looked at')
    (tmp_path / 'hollow').mkdir()
    return tmp_path


def source(kind, **settings):
    return dict(source=dict(type=kind, **settings))


LIST = 'the list.txt'
TSV = {'train.tsv': 'a\t0\t\nb\t1\t\n', 'train.lineidx': '0\n5\n'}
MAPPED = {**TSV, 'train.tsv': 'a\t[{"class": "n1"}]\t\n'.ljust(25), 'train.lineidx': '0\n'}
INDEX = '{"shardlist": [{"url": "%s", "nsamples": %d}]}'
# files to write, settings, class of the error, key, value ('@' is the data root), fact
DATA = {
    'no folder': ({}, dict(split='test'), NoData, 'folder', '@/test', '--cfg-options data_root='),
    'no images': ({}, dict(split='hollow'), NoData, 'folder', '@/hollow', '.jpeg'),
    'one share': ({}, dict(share=(0.5,)), UserError, 'dataset.share', (0.5,), '(from, to)'),
    'a share that is no pair': ({}, dict(share=0.5), UserError, 'dataset.share', 0.5, ''),
    'a share of words': ({}, dict(share='ab'), UserError, 'dataset.share', 'ab', ''),
    'none of each class': ({}, dict(per_class=0), UserError, 'dataset.per_class', 0, 'at least 1'),
    'fewer than none': ({}, dict(per_class=-1), UserError, 'dataset.per_class', -1, ''),
    'half an image': ({}, dict(per_class=0.5), UserError, 'dataset.per_class', 0.5, ''),
    'share of nothing': ({}, dict(share=(0.5, 0.5)), UserError, 'dataset.share', (0.5, 0.5), ''),
    'share above 1': ({}, dict(share=[0.0, 1.5]), UserError, 'dataset.share', [0.0, 1.5], ''),
    'share too small': ({}, dict(share=(0.0, 0.01)), NoData, 'dataset.share', (0.0, 0.01), ' of 3'),
    'two lists': (
        {}, dict(ann_file='a.txt', subset='b.txt'), UserError, 'dataset.ann_file', 'a.txt',
        'dataset.subset'),
    'a list beside the source': (
        {}, dict(ann_file='a.txt', **source('ListSource')), UserError, 'dataset.ann_file', 'a.txt',
        'dataset.source.ann_file'),
    'a subset beside the source': (
        {}, dict(subset='b.txt', **source('FolderSource')), UserError, 'dataset.subset', 'b.txt',
        'dataset.source.subset'),
    # lists
    'no list': ({}, dict(ann_file=LIST), NoData, 'file', f'@/{LIST}', ''),
    'a list without its folder': (
        {LIST: 'a.png\n'}, dict(ann_file=LIST, split='test'), NoData, 'folder', '@/test', ''),
    'an empty list': ({LIST: '\n'}, dict(ann_file=LIST), NoData, 'file', f'@/{LIST}', ''),
    'two empty lists': (
        {'a': '\n', 'b': '\n'}, source('ListSource', ann_file=('a', 'b')), NoData, 'file', '@/a',
        '/b'),
    'labels above the number of classes': (
        {LIST: 'a.png 7\n'}, source('ListSource', ann_file=LIST, num_classes=5), NoData, 'file',
        f'@/{LIST}', 'num_classes=5'),
    'labels on the first line only': (
        {LIST: 'a.png 1\nb.png\n'}, dict(ann_file=LIST), UserError, 'file', f'@/{LIST}', 'line 2'),
    'labels on the second line only': (
        {LIST: 'a.png\nb.png 1\n'}, dict(ann_file=LIST), UserError, 'file', f'@/{LIST}', 'line 2'),
    'neither list nor folder': ({}, source('ListSource'), NoData, 'file', '@/train.txt', ''),
    'no subset': ({}, dict(subset=LIST), NoData, 'file', f'@/{LIST}', 'docs/finetuning.md'),
    'an empty subset': ({LIST: '\n'}, dict(subset=LIST), NoData, 'file', f'@/{LIST}', ''),
    'a subset of other images': (
        {LIST: '01.png\nx.png\ncat/01.png\n'}, dict(subset=LIST), UserError, 'file', f'@/{LIST}',
        '2 of its 3 names are not in @/train: cat/01.png, x.png'),
    'a subset of names that two folders have': (
        {LIST: '00.png\n01.png\n', 'train/dog/00.png': ''}, dict(subset=LIST), UserError, 'file',
        f'@/{LIST}', '00.png: more than one folder'),
    # TSV
    'a row before the first': (
        {**TSV, 'train.linelist': '0\n-1\n'}, source('TsvSource'), UserError, 'file',
        '@/train.linelist', 'from 0'),
    'a byte before the first': (
        {**TSV, 'train.lineidx': '-1\n'}, source('TsvSource'), UserError, 'file',
        '@/train.lineidx', ''),
    'a row above all numbers': (
        {**TSV, 'train.linelist': '9' * 30}, source('TsvSource'), UserError, 'file',
        '@/train.linelist', ''),
    'an index of bytes': (
        {**TSV, 'train.lineidx': b'\xff\xfe'}, source('TsvSource'), UserError, 'file',
        '@/train.lineidx', ''),
    'chunks that are not JSON': (
        {**TSV, 'train.chunks': '{a: 1'}, source('TsvSource'), UserError, 'file',
        '@/train.chunks', 'first row'),
    'chunks that are a list': (
        {**TSV, 'train.chunks': '[1, 2]'}, source('TsvSource'), UserError, 'file',
        '@/train.chunks', ''),
    'chunks without a last row': (
        {**TSV, 'train.chunks': '{"a": [1]}'}, source('TsvSource'), UserError, 'file',
        '@/train.chunks', ''),
    'chunks of words': (
        {**TSV, 'train.chunks': '{"a": ["0", "1"]}'}, source('TsvSource'), UserError, 'file',
        '@/train.chunks', ''),
    'a label map that is not UTF-8': (
        {**TSV, 'map': b'\xff\t0\n'}, source('TsvSource', label_map='map'), UserError, 'file',
        '@/map', 'UTF-8'),
    'a label map with minus one': (
        {**TSV, 'map': 'a\t-1\n'}, source('TsvSource', label_map='map'), UserError, 'file',
        '@/map', 'line 1'),
    'a label of a row above all classes': (
        {**TSV, 'train.tsv': 'a\t0\t\nb\t100000000\t\n'}, source('TsvSource'), UserError,
        'file', '@/train.tsv', 'row 1'),
    'a table of OpenImages that is not JSON': (
        {'train.tsv': 'a\t0\t\n', openimages.INDEX: '0\n', openimages.CLASSES: 'cat\n',
         openimages.LABELS: 'a\t[{"clas": 1}]\n'}, source('OpenImagesSource'), UserError, 'file',
        f'@/{openimages.LABELS}', 'line 1'),
    'no rows': ({}, source('TsvSource'), NoData, 'file', '@/train.tsv', ''),
    'rows without an index': (
        {'train.tsv': 'a\t0\t\n'}, source('TsvSource'), NoData, 'file', '@/train.lineidx',
        'pack_dataset.py --index @/train.tsv'),
    'an empty index': (
        {**TSV, 'train.lineidx': ''}, source('TsvSource'), NoData, 'file', '@/train.tsv', ''),
    'an index of words': (
        {**TSV, 'train.lineidx': '0\nfive\n'}, source('TsvSource'), UserError, 'file',
        '@/train.lineidx', ''),
    'rows above the index': (
        {**TSV, 'train.linelist': '0\n2\n'}, source('TsvSource'), UserError, 'file',
        '@/train.tsv', '2 rows'),
    'no label map': (
        TSV, source('TsvSource', label_map='map'), NoData, 'file', '@/map', ''),
    'a label map without tabs': (
        {**TSV, 'map': 'n1\t0\nn2 1\n'}, source('TsvSource', label_map='map'), UserError, 'file',
        '@/map', 'line 2'),
    'a class the map does not have': (
        {**MAPPED, 'map': 'n2\t0\n'}, source('TsvSource', label_map='map'), UserError, 'file',
        '@/train.tsv', 'row 0: its label \'[{"class": "n1"}]\''),
    # zip
    'no archive': ({}, source('ZipSource'), NoData, 'file', '@/train.zip', ''),
    'a cut archive': ({'train.zip': b'PK\3\4'}, source('ZipSource'), UserError, 'file',
                      '@/train.zip', ''),
    'a cache': (
        {}, source('ZipSource', cache='some'), UserError, 'dataset.source.cache', 'some',
        'no, part, full'),
    'an archive without images': (
        {'train.zip': b'PK\5\6' + bytes(18)}, source('ZipSource'), NoData, 'file', '@/train.zip',
        'no images'),
    # LMDB
    'no data base': (
        {}, dict(data_root='lmdb:///nowhere/x'), NoData, 'file', 'lmdb:///nowhere/x/train.txt',
        'No such file'),
    'no data base for a list': (
        {}, dict(data_root='lmdb:///nowhere/x', ann_file='a.txt'), NoData, 'file',
        'lmdb:///nowhere/x/a.txt', 'No such file'),
    # shards
    **{f'shards that count {count}': (
        {'train.json': INDEX.replace('%d', count) % 'a.tar'}, source('ShardSource'), UserError,
        'file', '@/train.json', 'nsamples')
       for count in ('-3', 'true', '1.5', '"3"')},
    'labels of other samples': (
        {'train.json': INDEX[:-3].replace('%d', '2') % 'a.tar' + ', "labels": [0]}]}'},
        source('ShardSource'), UserError, 'file', '@/train.json', 'one for each of 2'),
    'a label below 0': (
        {'train.json': INDEX[:-3].replace('%d', '1') % 'a.tar' + ', "labels": [-1]}]}'},
        source('ShardSource'), UserError, 'file', '@/train.json', 'label -1'),
    'an address that is a number': (
        {'train.json': INDEX.replace('"%s"', '3') % 1}, source('ShardSource'), UserError, 'file',
        '@/train.json', 'url=3'),
    'no index of shards': (
        {}, source('ShardSource'), NoData, 'file', '@/train.json', 'pack_dataset.py --index'),
    'an index of something else': (
        {'train.json': '{}'}, source('ShardSource'), UserError, 'file', '@/train.json', ''),
    'shards without samples': (
        {'train.json': INDEX % ('a.tar', 0)}, source('ShardSource'), NoData, 'file',
        '@/train.json', ''),
    'a shard that is a command': (
        {'train.json': INDEX % ('pipe:touch ran', 3)}, source('ShardSource'), UserError, 'url',
        'pipe:touch ran', 'http'),
    # ImageNet-S
    'a flat folder': (
        {'test/a.JPEG': ''}, dict(split='test', **source('ImageNetSSource')), NoData, 'folder',
        '@/test', ''),
    'a split without masks': (
        {}, source('ImageNetSSource'), NoData, 'folder', '@/train-segmentation',
        'train-semi and validation'),
    'images without masks': (
        {'train-segmentation/dog/00.png': ''}, source('ImageNetSSource'), UserError, 'folder',
        '@/train-segmentation', '2 of 3 images'),
}  # fmt: skip


@pytest.mark.parametrize(
    ('files', 'settings', 'kind', 'key', 'value', 'fact'), DATA.values(), ids=DATA
)
def test_data_sets(root, files, settings, kind, key, value, fact):
    for name, content in files.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    if isinstance(value, str):
        value = value.replace('@', str(root))
    with refuses(key, value) as caught:
        ImageDataset(**{'data_root': str(root), 'split': 'train', **settings})
    assert type(caught.value) is kind
    assert fact.replace('@', str(root)) in str(caught.value)


def test_a_map_of_an_archive_without_tabs(root):
    writer = ZipWriter(root, 'train')
    writer.add('cat/00.png', 0, b'')
    writer.close()
    for text in ('cat/00.png 0\n', '\ncat/00.png\t²\n', 'a\t0\ncat/00.png\t-1\n'):
        (root / 'train_map.txt').write_text(text)
        with refuses('file', str(root / 'train_map.txt')) as caught:
            ImageDataset(str(root), 'train', **source('ZipSource'))
        assert f'line {text.count(chr(10))}: ' in str(caught.value)


def test_a_storage_that_no_backend_reads():
    with refuses('data_root', 'nosuch://bucket/'):
        ImageDataset('nosuch://bucket/', 'train')


# writers ------------------------------------------------------------------------------------------
def twice(writer, first, second):
    writer.add(first, 0, b'1')
    writer.add(second, 1, b'2')


WRITERS = {
    'an archive that exists': (
        lambda root: (ZipWriter(root, 'a').close(), ZipWriter(root, 'a')), 'file', '@/a.zip'),
    'a file that exists': (
        lambda root: FolderWriter(root, 'train').add('cat/00.png', 0, b''), 'file',
        '@/train/cat/00.png'),
    'a tab in a key': (lambda root: TsvWriter(root, 'a').add('a\tb', 0, b''), 'key', 'a\tb'),
    'a line end in a key': (lambda root: TsvWriter(root, 'a').add('a\nb', 0, b''), 'key', 'a\nb'),
    'names that differ in their dots': (
        lambda root: twice(ShardWriter(root, 'a'), 'x.1.png', 'x_1.png'), 'key', 'x_1.png'),
    'a key the database has': (
        lambda root: twice(LmdbWriter(root / 'base', 'a'), 'x.png', 'x.png'), 'key', 'x.png'),
    'an index of no file': (lambda root: write_index(root / 'no.tsv'), 'file', '@/no.tsv'),
}  # fmt: skip


@pytest.mark.parametrize(('write', 'key', 'value'), WRITERS.values(), ids=WRITERS)
def test_writers(root, write, key, value):
    with refuses(key, value.replace('@', str(root))):
        write(root)


def test_writing_lmdb_without_its_library(root, monkeypatch):
    monkeypatch.setitem(sys.modules, 'lmdb', None)
    with refuses('lmdb') as caught:
        LmdbWriter(root / 'base', 'train')
    assert 'pip install lmdb' in str(caught.value)


def test_images_without_masks_to_segment(root):
    Image.new('RGB', (4, 4)).save(root / 'train/cat/00.png')
    steps = [dict(type='LoadImage'), dict(type='SegmentTestView')]
    with refuses('dataset.source') as caught:
        ImageDataset(str(root), 'train', pipeline=steps)[0]
    assert str(root / 'train/cat/00.png') in str(caught.value)
    assert 'ImageNetSSource' in str(caught.value)


@pytest.mark.parametrize('names', [('CenterView',), ('LoadImage', 'CenterView', 'CenterView')])
def test_transforms_without_an_image(tmp_path, make_image, names):
    make_image().save(tmp_path / '0.png')
    steps = [dict(type=name) if name == 'LoadImage' else dict(type=name, size=8) for name in names]
    images = ImageDataset(str(tmp_path), pipeline=steps)
    with refuses('dataset.pipeline', 'CenterView'):
        images[0]
