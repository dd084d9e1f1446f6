"""Data sets: how accuracies on them are averaged, limits, names."""

import pytest

from mmssl.core import UserError
from mmssl.encoder_report.data import DataSet, accuracy_of, read_names

from ..helpers.refusals import refuses


# Kornblith et al. 2019, table 1: mean per class of these four, top-1 of the others
@pytest.mark.parametrize(
    ('name', 'kind'),
    [
        ('pets', 'mean per class'), ('Oxford-IIIT Pet', 'mean per class'),
        ('flowers102', 'mean per class'), ('FGVC-Aircraft', 'mean per class'),
        ('caltech-101', 'mean per class'), ('cifar10', 'mean'), ('dtd', 'mean'),
        ('food101', 'mean'), ('cars', 'mean'), ('sun397', 'mean'), ('carpets', 'mean'),
    ],
)  # fmt: skip
def test_accuracies_are_averaged_as_papers_do(name, kind):
    assert accuracy_of(name) == kind


def test_names_of_folders(tmp_path):
    (tmp_path / 'one').mkdir()
    found = read_names([f'a={tmp_path}/one', f'{tmp_path}/one'])
    assert list(found) == ['a', 'one'] and found['a'] == tmp_path / 'one'
    with refuses('--data', f'a={tmp_path}/two'):
        read_names([f'a={tmp_path}/two'])
    with refuses('--data', f'a={tmp_path}'):
        read_names([f'a={tmp_path}/one', f'a={tmp_path}'])


def test_limits_keep_as_many_of_every_class(image_folder):
    data = DataSet('x', image_folder, dict(split='train'), dict(split='val'), 'classes',
                   ('a', 'b', 'c'))  # fmt: skip
    assert [len(part) for part in data.open(None)[1:3]] == [24, 9]
    opened = data.open(7)
    assert [len(opened.train), len(opened.test)] == [6, 6]
    assert sorted(opened.test.labels) == [0, 0, 1, 1, 2, 2]
    assert opened.fingerprints['train'] != data.open(None).fingerprints['train']
    assert [len(part) for part in data.open(1)[1:3]] == [3, 3]


def test_class_folders_that_differ_are_refused(image_folder, tmp_path):
    (tmp_path / 'train').symlink_to(image_folder / 'train')
    (tmp_path / 'val' / 'other').mkdir(parents=True)
    source = next((image_folder / 'val').rglob('*.png'))
    (tmp_path / 'val' / 'other' / 'x.png').write_bytes(source.read_bytes())
    data = DataSet('x', tmp_path, dict(split='train'), dict(split='val'), 'classes', ('a',))
    with pytest.raises(UserError):
        data.open(None)
