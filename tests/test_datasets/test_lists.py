"""Lists of images: read where the meaning is plain, else refused with the line's number."""

import codecs
import os

import pytest

from mmssl.core import UserError
from mmssl.datasets import ImageDataset
from mmssl.datasets.sources.lists import MAX_CLASSES, read_list

from ..helpers.counting import calls
from ..helpers.refusals import refuses

FILES = ['a/0.jpg', 'a/1.jpg', 'b/0.jpg', 'c/0.jpg']
LABELS = [0, 0, 1, 2]
PLAIN = ''.join(f'{path} {label}\n' for path, label in zip(FILES, LABELS, strict=True))
READ = {
    'spaces': PLAIN.encode(),
    'two spaces': PLAIN.replace(' ', '  ').encode(),
    'tabs': PLAIN.replace(' ', '\t').encode(),
    'commas': PLAIN.replace(' ', ',').encode(),
    'commas and spaces': PLAIN.replace(' ', ', ').encode(),
    'semicolons': PLAIN.replace(' ', ';').encode(),
    'quotes': ''.join(f'"{line.split()[0]}","{line.split()[1]}"\n' for line in PLAIN.splitlines())
    .encode(),
    'a byte order mark': codecs.BOM_UTF8 + PLAIN.encode(),
    'as PowerShell writes': PLAIN.replace('\n', '\r\n').encode('utf-16'),
    'line ends of Windows': PLAIN.replace('\n', '\r\n').encode(),
    'line ends of old Macs': PLAIN.replace('\n', '\r').encode(),
    'empty lines, no last end': ('\n' + PLAIN.replace('\n', '\n\n')).rstrip().encode(),
    'a header': ('path,label\n' + PLAIN.replace(' ', ',')).encode(),
    'a header of other words': ('image_id\tcategory id\n' + PLAIN.replace(' ', '\t')).encode(),
    'a header behind a mark': codecs.BOM_UTF8 + ('Image,Label\n' + PLAIN).encode(),
}  # fmt: skip


@pytest.mark.parametrize('content', READ.values(), ids=READ)
def test_read(content):
    assert read_list(content) == (FILES, LABELS)


UNLABELLED = {
    'paths': ('a/0.jpg\nb/1.png\n', ['a/0.jpg', 'b/1.png']),
    'a header': ('path\na/0.jpg\nb/1.png\n', ['a/0.jpg', 'b/1.png']),
    'spaces in names': ('my cat 3.jpg\nb, c.png\n', ['my cat 3.jpg', 'b, c.png']),
    'names that look like lists': ('x.jpg 3 of 4.png\n', ['x.jpg 3 of 4.png']),
    'no known ending': ('n01/n01_1\nn01/n01_2\n', ['n01/n01_1', 'n01/n01_2']),
}


@pytest.mark.parametrize(('text', 'paths'), UNLABELLED.values(), ids=UNLABELLED)
def test_unlabelled(text, paths):
    assert read_list(text.encode()) == (paths, [])


def test_backslashes_part_folders_where_no_slash_does():
    assert read_list(b'a\\0.jpg 0\nb\\c\\1.jpg 1\n') == (['a/0.jpg', 'b/c/1.jpg'], [0, 1])
    assert read_list(b'a/b\\0.jpg\n') == (['a/b\\0.jpg'], [])


def test_absolute_paths_are_not_below_the_split(tmp_path):
    (tmp_path / 'train').mkdir()
    (tmp_path / '0.jpg').write_bytes(b'content')
    (tmp_path / 'list.txt').write_text(f'{tmp_path}/0.jpg 1\n')
    data = ImageDataset(str(tmp_path), 'train', ann_file='list.txt')
    assert (data.read(0), data.name(0)) == (b'content', f'{tmp_path}/0.jpg')


def test_labels_behind_spaces_and_unknown_endings():
    assert read_list(b'my cat 3.jpg 7\nn01/n01_1 2\n') == (['my cat 3.jpg', 'n01/n01_1'], [7, 2])


REFUSED = {
    'minus one': ('a/0.jpg 0\na/1.jpg -1\n', 2),
    'minus one, unknown ending': ('a/x 0\na/y -1\n', 2),
    'a hundred million': ('a/0.jpg 0\nb/0.jpg 100000000\n', 2),
    'one above the highest': (f'a/0.jpg {MAX_CLASSES}\n', 1),
    'five thousand digits': ('a/0.jpg ' + '9' * 5000 + '\n', 1),
    'superscript': ('a/0.jpg ²\n', 1),
    'Arabic digits': ('a/0.jpg ٣\n', 1),
    'a fraction': ('a/0.jpg 0.5\n', 1),
    'a word': ('a/0.jpg cat\n', 1),
    'two labels': ('a/0.jpg 0 2\n', 1),
    'three columns': ('a/0.jpg,0,train\n', 1),
    'a word after the header': ('path,label\n\na/0.jpg,1\na/1.jpg,cat\n', 4),
    'a quote without its end': ('a/0.jpg 0\n"' + 'a' * 200_000 + '\n', 2),
    'labels on some lines': ('a/0.jpg 0\na/1.jpg\n', 2),
}  # fmt: skip


@pytest.mark.parametrize(('text', 'line'), REFUSED.values(), ids=REFUSED)
def test_refused(text, line, tmp_path):
    (tmp_path / 'list.txt').write_text(text)
    with refuses('file', f'{tmp_path}/list.txt', UserError) as caught:
        ImageDataset(str(tmp_path), ann_file='list.txt')
    assert f'list.txt, line {line}: ' in str(caught.value)
    assert len(str(caught.value)) < 300 + len(str(tmp_path))


def test_the_highest_label_that_is_read(tmp_path):
    (tmp_path / 'list.txt').write_text(f'a/0.jpg {MAX_CLASSES - 1}\n')
    assert ImageDataset(str(tmp_path), ann_file='list.txt').labels == [MAX_CLASSES - 1]


def test_an_image_is_no_list(tmp_path):
    (tmp_path / 'list.txt').write_bytes(b'\xff\xd8\xff\xe0\0\x10JFIF')
    with refuses('file', f'{tmp_path}/list.txt'):
        ImageDataset(str(tmp_path), ann_file='list.txt')


def test_lists_name_files_that_are_not_utf8(tmp_path):
    name = os.fsdecode(b'\xff.jpg')
    (tmp_path / name).write_bytes(b'content')
    (tmp_path / 'list.txt').write_bytes(b'\xff.jpg 1\n')
    data = ImageDataset(str(tmp_path), ann_file='list.txt')
    assert (data.read(0), data.labels) == (b'content', [1])


POINTER = 'version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 9\n'
STORED = {
    'a list': ('list.txt', dict(type='ListSource', ann_file='list.txt')),
    'an archive': ('train.zip', dict(type='ZipSource', split='train')),
    'rows': ('train.tsv', dict(type='TsvSource', split='train')),
    'an index of shards': ('train.json', dict(type='ShardSource', split='train')),
}


@pytest.mark.parametrize(('name', 'source'), STORED.values(), ids=STORED)
def test_what_git_lfs_did_not_fetch(tmp_path, name, source):
    (tmp_path / name).write_text(POINTER)
    with refuses('file', f'{tmp_path}/{name}') as caught:
        ImageDataset(str(tmp_path), source=source)
    assert 'git lfs pull' in str(caught.value)


def test_a_list_is_read_in_linear_time():
    line = 'n01440764/n01440764_{0}.JPEG {1}\n'
    short, long = (
        ''.join(line.format(i, i % 100) for i in range(count)).encode() for count in (1_000, 10_000)
    )
    paths, labels = read_list(long)
    assert (len(paths), labels[-1]) == (10_000, 99)
    assert calls(read_list, long) < 11 * calls(read_list, short)
