"""Names that are not UTF-8, or not on one line, are written escaped wherever they are written."""

import json
import os

import pytest

from mmssl.core.errors import UserError, escaped
from mmssl.datasets import ImageDataset
from mmssl.datasets.sources import UnreadableImage

from ..helpers.packed import copy, tool
from ..helpers.refusals import refuses

NAMES = {
    'not UTF-8': (b'\xff\xfe.png', r'\xff\xfe.png'),
    'a line end': (b'a\nb.png', r'a\nb.png'),
    'a terminal command': (b'\x1b[31m.png', r'\x1b[31m.png'),
    'a separator of lines': ('\u2028.png'.encode(), r'\u2028.png'),
    'other scripts': ('кот.png'.encode(), 'кот.png'),
}


@pytest.mark.parametrize(('raw', 'written'), NAMES.values(), ids=NAMES)
def test_text(raw, written):
    assert escaped(os.fsdecode(raw)) == written
    assert str(UnreadableImage(os.fsdecode(raw))) == written


def test_other_lone_surrogates():
    assert escaped('\ud800.png') == r'\ud800.png'


@pytest.mark.parametrize(('raw', 'written'), NAMES.values(), ids=NAMES)
def test_a_data_report(image_folder, tmp_path, raw, written, capsys):
    root = copy(image_folder, tmp_path / 'a', [])
    (root / 'train/red' / os.fsdecode(raw)).write_bytes(b'no image')
    out = tmp_path / 'out'
    with pytest.raises(SystemExit):
        tool('data_report').main(
            [str(root), '--split', 'train', '--workers', '1', '--quiet', '--out', str(out)]
        )
    (bad,) = json.loads((out / 'data.json').read_text('utf-8'))['unreadable']
    assert bad['name'] == f'{root}/train/red/{written}'
    assert capsys.readouterr().out.splitlines()[0] == bad['cause']
    assert bad['cause'].startswith(bad['name'])


def test_the_report_of_a_replaced_image(image_folder, tmp_path):
    root = copy(image_folder, tmp_path / 'a', [])
    (root / 'train/red' / os.fsdecode(b'\xff\n.png')).write_bytes(b'no image')
    data = ImageDataset(str(root), 'train', pipeline=[dict(type='LoadImage')])
    index = next(i for i in range(len(data)) if '\n' in data.name(i))
    report = data[index]['unreadable']
    assert report == f'{root}/train/red/' + r'\xff\n.png: not an image'


@pytest.mark.parametrize('form', ['zip', 'tsv', 'shards', 'lmdb'])
def test_packing(image_folder, tmp_path, form):
    root = copy(image_folder, tmp_path / 'a', [])
    name = os.fsdecode(b'red/\xff.png')
    os.rename(root / 'train/red/0.png', root / 'train' / name)
    with refuses('key', name, UserError) as caught:
        tool().main([str(root), str(tmp_path / form), '--to', form, '--quiet'])
    assert r'red/\xff.png' in str(caught.value)
    tool().main([str(root), str(tmp_path / 'folder'), '--to', 'folder', '--quiet'])
    assert (tmp_path / 'folder/train' / name).is_file()
