"""Special files, and packed data sets whose numbers are meant to take memory or time."""

import io
import json
import os
import struct
import tarfile
import tracemalloc
import zipfile
import zlib

import pytest

from mmssl.apis.images import open_image
from mmssl.datasets import ImageDataset
from mmssl.datasets.sources import UnreadableImage, shards, zips
from mmssl.datasets.transforms import LoadImage

from ..helpers.counting import calls
from ..helpers.refusals import refuses

ROW = 'a\t0\tAAAA\n'
INDEX = '{"shardlist": [{"url": "a.tar", "nsamples": %s}]}'
LABELS = '{"shardlist": [{"url": "a.tar", "nsamples": 1, "labels": [%s]}]}'
MEMORY = 50 * 2**20  # bytes that refusing may take


@pytest.fixture
def root(tmp_path):
    (tmp_path / 'train/a').mkdir(parents=True)
    (tmp_path / 'train/a/0.png').write_bytes(b'content')
    return tmp_path


def bounded(call):
    """Return what a call gives, with its memory checked."""
    tracemalloc.start()
    try:
        return call()
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < MEMORY


def source(kind, **settings):
    return dict(source=dict(type=kind, **settings))


# special files --------------------------------------------------------------------------------
LISTED = {
    'a list': ('x', dict(ann_file='x')),
    'a subset': ('x', dict(subset='x')),
    'rows': ('train.lineidx', source('TsvSource')),
    'a label map': ('map', source('TsvSource', label_map='map')),
    'an archive': ('train.zip', source('ZipSource')),
    'an index of shards': ('train.json', source('ShardSource')),
}


@pytest.mark.parametrize('kind', ['pipe', 'device'])
@pytest.mark.parametrize(('name', 'settings'), LISTED.values(), ids=LISTED)
def test_only_regular_files_are_data(root, name, settings, kind):
    (root / 'train.tsv').write_text(ROW)
    (root / 'train.lineidx').write_text('0\n')
    path = root / name
    path.parent.mkdir(exist_ok=True)
    (path.parent / 'meta').write_bytes(b'')
    path.unlink(missing_ok=True)
    if kind == 'pipe':
        os.mkfifo(path)
    else:
        path.symlink_to('/dev/zero')
    with refuses('file', str(path)):
        bounded(lambda: ImageDataset(str(root), 'train', **settings))


@pytest.mark.parametrize('read', [open_image, lambda path: LoadImage()(dict(path=str(path)))])
def test_a_pipe_is_no_image(tmp_path, read):
    path = tmp_path / 'a.png'
    os.mkfifo(path)
    with refuses('file', str(path), UnreadableImage):
        read(path)


def test_a_pipe_is_no_shard(root):
    (root / 'train.json').write_text(INDEX % 1)
    os.mkfifo(root / 'a.tar')
    data = ImageDataset(str(root), 'train', **source('ShardSource'))
    with pytest.raises(UnreadableImage, match='not a regular file'):
        data.read(0)


# numbers ----------------------------------------------------------------------------------------
DEEP = '[' * 100_000
TSV = {'train.tsv': ROW * 3, 'train.lineidx': '0\n9\n18\n'}
NUMBERS = {
    **{f'chunks, {text[:12]}': ({**TSV, 'train.chunks': text}, source('TsvSource'), 'train.chunks')
       for text in (DEEP, '{"a": [0, %s]}' % ('9' * 5000), '{"a": [-1, 2]}', '{"a": [0, NaN]}',
                    '{"a": [0, 1], "b": [1, 2], "c": [2, 2]}')},
    'a label of lists': (
        {**TSV, 'train.tsv': f'a\t{DEEP}\tAAAA\n', 'map': 'a\t0\n'},
        source('TsvSource', label_map='map'), 'train.tsv'),
    'a label of 5000 digits': (
        {**TSV, 'train.tsv': 'a\t' + '9' * 4000 + '\tAAAA\n', 'train.lineidx': '0\n'},
        source('TsvSource'), 'train.tsv'),
    **{f'an index of rows, {text[:9]}': (
        {**TSV, 'train.lineidx': text}, source('TsvSource'), 'train.lineidx')
       for text in ('-1', '1' + '0' * 30, '9' * 5000, '²', '1.5')},
    **{f'samples, {count[:12]}': ({'train.json': INDEX % count}, source('ShardSource'),
                                  'train.json')
       for count in ('1000000000000', '1000001', '-3', '9' * 30, '9' * 5000, 'null', '{}', DEEP)},
    **{f'labels, {label[:12]}': ({'train.json': LABELS % label}, source('ShardSource'),
                                 'train.json')
       for label in ('"0"', '{}', 'null', '-1', 'true', '1000000', '9' * 4000,
                     '[' * 900 + ']' * 900)},
    'many shards of the most samples': (
        {'train.json': json.dumps(dict(shardlist=[dict(url='a', nsamples=10**6)] * 1001))},
        source('ShardSource'), 'train.json'),
    'shards that are a dict': ({'train.json': '{"shardlist": {"a": 1}}'}, source('ShardSource'),
                               'train.json'),
    'an address with a null byte': (
        {'train.json': (INDEX % 1).replace('a.tar', r'a\u0000')}, source('ShardSource'),
        'train.json'),
}  # fmt: skip


@pytest.mark.parametrize(('files', 'settings', 'name'), NUMBERS.values(), ids=NUMBERS)
def test_numbers_that_cannot_be(root, files, settings, name):
    for file, text in files.items():
        (root / file).write_text(text)
    with refuses('file', str(root / name)) as caught:
        bounded(lambda: ImageDataset(str(root), 'train', **settings))
    assert len(str(caught.value)) < 500 + len(str(root))


def test_chunks_beyond_the_rows_select_those_there_are(root):
    for name, text in TSV.items():
        (root / name).write_text(text)
    ranges = {'b': [1, 10**12], 'a': [0, 0], 'c': [10**30, 10**31]}
    (root / 'train.chunks').write_text(json.dumps(ranges))
    data = bounded(lambda: ImageDataset(str(root), 'train', **source('TsvSource')))
    assert data.source.files[0].offsets.tolist() == [9, 18, 0]


def read_chunks(at):
    root, count = at
    data = ImageDataset(str(root), 'train', with_label=False, **source('TsvSource'))
    assert len(data) == count


def test_chunks_are_read_in_linear_time(root):
    found = []
    for count in (500, 5_000):
        (root / 'train.tsv').write_text(ROW * count)
        (root / 'train.lineidx').write_text(''.join(f'{9 * i}\n' for i in range(count)))
        (root / 'train.chunks').write_text(json.dumps({f'c{i}': [i, i] for i in range(count)}))
        found.append(calls(read_chunks, (root, count)))
    assert found[1] < 11 * found[0]


# archives and shards ------------------------------------------------------------------------------
def archive(root, content=b'content'):
    with zipfile.ZipFile(root / 'train.zip', 'w', zipfile.ZIP_DEFLATED) as file:
        file.writestr('a/0.png', content)
    return bytearray((root / 'train.zip').read_bytes())


@pytest.mark.parametrize('field', [20, 24, 42])  # packed size, size, offset
def test_numbers_in_an_archive(root, field):
    content = archive(root)
    at = content.index(b'PK\1\2') + field
    content[at : at + 4] = struct.pack('<I', 0xFFFFFFF0)
    (root / 'train.zip').write_bytes(content)
    data = ImageDataset(str(root), 'train', **source('ZipSource'))
    try:
        assert bounded(lambda: data.read(0)) == b'content'
    except UnreadableImage as error:
        assert error.args[0].startswith(f'{root}/train.zip@/a/0.png: ')


def test_sizes_of_64_bits_in_an_archive(root):
    content = archive(root)
    at = content.index(b'PK\1\2')
    end = content.index(b'PK\5\6')
    entry = content[at:end]
    entry[20:28] = b'\xff' * 8
    entry[30:32] = struct.pack('<H', 20)
    entry += struct.pack('<HHQQ', 1, 16, 2**64 - 2, 2**64 - 3)
    tail = content[end:]
    tail[12:16] = struct.pack('<I', len(entry))
    (root / 'train.zip').write_bytes(content[:at] + entry + tail)
    data = ImageDataset(str(root), 'train', **source('ZipSource'))
    with pytest.raises(UnreadableImage, match='a member of more than'):
        bounded(lambda: data.read(0))


def test_a_member_that_is_larger_than_it_says(root):
    content = archive(root, bytes(100 * 2**20))
    for sign, field in ((b'PK\1\2', 24), (b'PK\3\4', 22)):
        at = content.index(sign) + field
        content[at : at + 4] = struct.pack('<I', 1000)
    (root / 'train.zip').write_bytes(content)
    data = ImageDataset(str(root), 'train', **source('ZipSource'))
    with pytest.raises(UnreadableImage, match='check sum'):
        bounded(lambda: data.read(0))


def test_members_above_the_limit(root, monkeypatch):
    monkeypatch.setattr(zips, 'MAX_BYTES', 6)
    archive(root)
    with pytest.raises(UnreadableImage, match='more than 6 bytes'):
        ImageDataset(str(root), 'train', **source('ZipSource')).read(0)


def shard(root, *entries):
    """Write a compressed shard of an image and of entries (type, size) of zeros."""
    packer = zlib.compressobj(1, zlib.DEFLATED, 31)
    image = tarfile.TarInfo('0.png')
    image.size = 512
    parts = [packer.compress(image.tobuf() + bytes(512))]
    for kind, size in entries:
        entry = tarfile.TarInfo('1.png')
        entry.type, entry.size = kind, size
        parts.append(packer.compress(entry.tobuf(tarfile.GNU_FORMAT)))
        parts += [packer.compress(bytes(2**20)) for _ in range(size >> 20)]
    (root / 'a.tar').write_bytes(b''.join(parts) + packer.flush())
    (root / 'train.json').write_text(INDEX % 2)
    return ImageDataset(str(root), 'train', **source('ShardSource'))


@pytest.mark.parametrize('kind', [tarfile.REGTYPE, tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME])
def test_compressed_zeros_in_a_shard(root, kind, monkeypatch):
    monkeypatch.setattr(shards, 'MAX_BYTES', 2**20)
    data = shard(root, (kind, 100 * 2**20))
    with pytest.raises(UnreadableImage, match='104857600 bytes'):
        bounded(lambda: data.read(1))


def test_a_compressed_shard_is_read(root):
    data = shard(root, (tarfile.REGTYPE, 0))
    assert data.read(0) == bytes(512)
    with tarfile.open(fileobj=io.BytesIO((root / 'a.tar').read_bytes())) as tar:
        assert tar.next().name == '0.png'
