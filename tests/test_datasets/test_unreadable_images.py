"""Unreadable images in every storage are replaced by others."""

import re

import pytest
import torch
from PIL import Image

from mmssl.datasets import ImageDataset
from mmssl.datasets.image_dataset import TRIES
from mmssl.datasets.sources import UnreadableImage
from mmssl.engine import Runner

from ..helpers.damage import damaged_list, damaged_lmdb, damaged_shards, damaged_tsv, damaged_zip
from ..helpers.packed import copy

VIEW = dict(type='RandomView', size=8, jitter=(0.4, 0.4, 0.2, 0.1))
PIPELINE = [dict(type='LoadImage'), dict(type='MultiView', views=[VIEW, VIEW])]


def loader(dataset, workers=0, epoch=0):
    built = Runner.build_dataloader(
        dict(
            batch_size=6,
            num_workers=workers,
            sampler=dict(type='EpochSampler', shuffle=True, _scope_='mmssl'),
            dataset=dataset,
        ),
        seed=4,
    )
    built.sampler.set_epoch(epoch)
    return built


# replacing ----------------------------------------------------------------------------------------
def test_a_bad_image_gives_way_to_another_whatever_the_workers(image_folder, tmp_path):
    root = copy(image_folder, tmp_path / 'a')
    data = ImageDataset(str(root), 'train', pipeline=PIPELINE, seed=4)
    whole = ImageDataset(str(image_folder), 'train', pipeline=PIPELINE, seed=4)
    bad = 16 + 3
    for epoch in (0, 1):
        for i in range(24):
            ours, theirs = data[epoch, i], whole[epoch, i]
            samples = ours['data_samples']
            same = all(map(torch.equal, ours['inputs'], theirs['inputs']))
            assert same == (i != bad)
            assert samples['index'] == i
            assert bool(samples['unreadable']) == (i == bad)
    reason = data[0, bad]['data_samples']['unreadable']
    assert re.match(rf'{root}/train/red/3\.png: .*trunc', reason)
    assert '\n' not in reason
    # never the same views as the image has on its own turn
    boxes = {tuple(map(tuple, data[0, i]['data_samples']['box'].tolist())) for i in range(24)}
    assert len(boxes) == 24
    alone, shared = ([b for b in loader(data, n, epoch=2)] for n in (0, 2))
    for a, b in zip(alone, shared, strict=True):
        assert torch.equal(a['inputs'][1], b['inputs'][1])
        assert a['data_samples']['unreadable'] == b['data_samples']['unreadable']
    found = [f for batch in alone for f in batch['data_samples']['unreadable'] if f]
    assert found == [reason]


def test_the_label_is_that_of_the_image_shown(image_folder, tmp_path):
    root = copy(image_folder, tmp_path / 'a', [f'red/{i}.png' for i in range(7)])
    data = ImageDataset(str(root), 'train', pipeline=PIPELINE, seed=1)
    labels = {data[e, 16]['data_samples']['label'] for e in range(20)}
    assert labels == {0, 1, 2}
    red = [data[e, 16]['data_samples'] for e in range(60)]
    # a draw may be bad as well: then both are said
    assert {len(s['unreadable'].splitlines()) for s in red} >= {1, 2}
    for sample in red:
        assert sample['unreadable'].splitlines()[0].startswith(f'{root}/train/red/0.png: ')


def test_when_nothing_can_be_read_it_says_so_at_once(image_folder, tmp_path):
    names = [p.relative_to(image_folder / 'train') for p in (image_folder / 'train').rglob('*.png')]
    root = copy(image_folder, tmp_path / 'a', names)
    data = ImageDataset(str(root), 'train', pipeline=PIPELINE)
    with pytest.raises(
        UnreadableImage, match=f'{TRIES} images in a row could not be read'
    ) as found:
        data[0]
    assert str(found.value).count('truncated') == TRIES


@pytest.mark.parametrize(
    'damage', [damaged_list, damaged_zip, damaged_tsv, damaged_shards, damaged_lmdb]
)
def test_damage_in_a_storage_is_survived_and_named(image_folder, tmp_path, damage, capsys):
    source, expected = damage(image_folder, tmp_path)
    data = ImageDataset(str(tmp_path), 'train', source=source, pipeline=PIPELINE)
    for i in range(len(data)):
        reason = data[0, i]['data_samples']['unreadable']
        assert (expected.get(i, '') in reason) and bool(reason) == (i in expected), (i, reason)


def test_animals_of_every_kind_are_read(tmp_path, make_image):
    """Modes that are no damage: nothing is reported."""
    (tmp_path / 'train').mkdir()
    image = make_image((40, 30))
    for mode, ending in (
        ('L', 'jpg'),
        ('CMYK', 'jpg'),
        ('RGBA', 'png'),
        ('P', 'png'),
        ('1', 'png'),
    ):
        image.convert(mode).save(tmp_path / f'train/{mode}.{ending}')
    image.save(tmp_path / 'train/png.jpg', 'PNG')  # another ending
    image.save(tmp_path / 'train/x.gif', save_all=True, append_images=[Image.new('RGB', (40, 30))])
    data = ImageDataset(str(tmp_path), 'train', pipeline=PIPELINE)
    assert len(data) == 7
    assert not any(data[i]['data_samples']['unreadable'] for i in range(7))
