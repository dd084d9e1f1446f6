"""Which files ImageDataset finds and skips."""

import os
import random
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from mmssl.core.errors import NoData
from mmssl.datasets import ImageDataset
from mmssl.registry import TRANSFORMS


@TRANSFORMS.register_module()
class Peek:
    """Return the item as it is, with one draw of its generator."""

    def __call__(self, item):
        return {**item, 'draw': item['rng'].random()}


PEEK = [dict(type='Peek')]
SIZES = {'cat': 9, 'dog': 5, 'emu': 1, 'fox': 2}


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Class folders of files that nobody opens."""
    root = tmp_path_factory.mktemp('classes')
    for name, count in SIZES.items():
        for i in range(count):
            # images in deeper folders belong to the class as well
            file = root / 'train' / name / ('deep' if i % 2 else '') / f'{i:02}.PNG'
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text('not looked at')
    (root / 'train' / 'cat' / 'notes.txt').touch()
    (root / 'train' / 'hollow').mkdir()
    return root


def names(data):
    return [os.path.relpath(data.name(i), data.root) for i in range(len(data))]


def test_class_folders_give_labels_in_sorted_order(folder):
    data = ImageDataset(str(folder), 'train')
    assert data.classes == ('cat', 'dog', 'emu', 'fox')
    assert data.metainfo == dict(classes=data.classes)
    assert [data.labels.count(i) for i in range(4)] == list(SIZES.values())
    for path, label in zip(names(data), data.labels, strict=True):
        assert path.split('/')[1] == data.classes[label]
    assert names(data) == sorted(names(data))
    assert (len(data), data.describe()) == (17, '17 images of 4 classes')


def test_a_flat_folder_has_no_labels(folder):
    data = ImageDataset(str(folder), 'train/dog')
    assert (len(data), data.labels, data.classes) == (5, [], ())
    assert data.describe() == '5 images without labels'
    assert 'label' not in ImageDataset(str(folder), 'train/dog', pipeline=PEEK)[0]


def test_labels_may_be_left_aside(folder):
    data = ImageDataset(str(folder), 'train', with_label=False)
    assert (len(data), data.labels, data.classes) == (17, [], ())


def test_a_list_with_labels(folder):
    (folder / 'list.txt').write_text('cat/00.PNG 3\n\ndog/deep/01.PNG 0\ncat/02.PNG 3\n')
    data = ImageDataset(str(folder), 'train', ann_file='list.txt')
    assert names(data) == ['train/cat/00.PNG', 'train/dog/deep/01.PNG', 'train/cat/02.PNG']
    assert (data.labels, data.classes) == ([3, 0, 3], ('0', '1', '2', '3'))


def test_a_list_without_labels_may_have_spaces_in_names(folder):
    file = folder / 'plain.txt'
    file.write_text('cat/00.PNG\nmy cat.png\n')
    data = ImageDataset(str(folder), 'train', ann_file=str(file))
    assert (names(data), data.labels) == (['train/cat/00.PNG', 'train/my cat.png'], [])
    file.write_text('my cat.png 1\n')
    data = ImageDataset(str(folder), 'train', ann_file=str(file))
    assert (names(data), data.labels) == (['train/my cat.png'], [1])


@given(cuts=st.lists(st.floats(0, 1), max_size=5, unique=True))
def test_shares_are_disjoint_and_complete_in_every_class(folder, cuts):
    edges = sorted({0.0, 1.0, *cuts})
    seen = []
    for begin, end in pairwise(edges):
        try:
            part = ImageDataset(str(folder), 'train', share=(begin, end))
        except NoData:  # nothing between these two edges
            continue
        for label, size in enumerate(SIZES.values()):
            assert part.labels.count(label) == round(end * size) - round(begin * size)
        seen += list(zip(names(part), part.labels, strict=True))
    whole = ImageDataset(str(folder), 'train')
    assert sorted(seen) == sorted(zip(names(whole), whole.labels, strict=True))


def test_per_class_keeps_so_many_of_each_and_always_the_same(folder):
    few = ImageDataset(str(folder), 'train', per_class=2)
    assert [few.labels.count(i) for i in range(4)] == [2, 2, 1, 2]
    assert names(few) == names(ImageDataset(str(folder), 'train', per_class=2, seed=5))
    more = ImageDataset(str(folder), 'train', per_class=3)
    assert set(names(few)) < set(names(more))
    tenth = ImageDataset(str(folder), 'train', share=(0.5, 1), per_class=1)
    rest = ImageDataset(str(folder), 'train', share=(0, 0.5))
    assert not set(names(tenth)) & set(names(rest))


def test_the_first_images_by_name_are_not_favoured(folder):
    half = ImageDataset(str(folder), 'train/cat', share=(0, 0.5))
    assert names(half) != names(ImageDataset(str(folder), 'train/cat'))[:4]


def test_an_items_randomness_comes_from_seed_epoch_and_index(folder):
    data = ImageDataset(str(folder), 'train', pipeline=PEEK, seed=7)
    for at, epoch, index in (((3, 5), 3, 5), ((0, 5), 0, 5), ((3, 4), 3, 4)):
        item = data[at]
        assert item['draw'] == random.Random(f'7-{epoch}-{index}').random()
        assert (item['index'], item['label']) == (index, data.labels[index])
        assert item['path'] == data.name(index)
    draws = {
        ImageDataset(str(folder), 'train', pipeline=PEEK, seed=s)[e, i]['draw']
        for s in (0, 1)
        for e in (0, 1)
        for i in range(17)
    }
    assert len(draws) == 2 * 2 * 17


def test_an_index_alone_belongs_to_the_epoch_that_was_set(folder):
    data = ImageDataset(str(folder), 'train', pipeline=PEEK, seed=7)
    for epoch in (0, 4):
        data.set_epoch(epoch)
        assert [data[5]['draw'], data[5]['draw']] == 2 * [random.Random(f'7-{epoch}-5').random()]


def test_an_index_alone_draws_anew_where_no_epoch_was_set(folder):
    """As in a loop of the user's own: every epoch and every item differ, torch's seed decides."""
    data = ImageDataset(str(folder), 'train', pipeline=PEEK, seed=7)
    runs = []
    for _ in range(2):
        torch.manual_seed(3)
        loader = DataLoader(data, batch_size=None, num_workers=2, persistent_workers=True)
        runs.append([item['draw'] for _ in range(3) for item in loader])
    assert len(set(runs[0])) == 3 * 17
    assert runs[0] == runs[1]


def test_linked_class_folders_are_followed(folder, tmp_path):
    for name in ('cat', 'dog'):
        (tmp_path / name).symlink_to(folder / 'train' / name)
    found = ImageDataset(str(tmp_path))
    assert found.classes == ('cat', 'dog')
    assert len(found) == SIZES['cat'] + SIZES['dog']
