"""Several sources at once: images, labels, and how often each comes in an epoch."""

from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
from mmengine.dataset import ClassBalancedDataset as TheirBalanced

from mmssl.core import UserError
from mmssl.datasets import EpochSampler, ImageDataset, RepeatAugSampler, ResumableSampler
from mmssl.datasets.sources.concat import class_repeat_factors

from ..helpers.imagenet_s import write
from ..helpers.packed import pack
from ..helpers.refusals import refuses
from ..helpers.views import PIPELINE, items, same

FORMS = {
    'zip': 'ZipSource',
    'tsv': 'TsvSource',
    'shards': 'ShardSource',
    'folder': 'FolderSource',
}


def concat(root, *sources, split='train', pipeline=PIPELINE, **settings):
    source = dict(type='ConcatSource', sources=list(sources), **settings)
    return ImageDataset(str(root), split, source=source, pipeline=pipeline, seed=4)


FOLDER = dict(type='FolderSource')
VAL = dict(type='FolderSource', split='val')


def test_images_and_labels_one_after_the_other(image_folder):
    data = concat(image_folder, FOLDER, VAL)
    train, val = (ImageDataset(str(image_folder), split) for split in ('train', 'val'))
    assert len(data) == len(train) + len(val) == 33
    assert data.labels == train.labels + val.labels
    assert data.classes == train.classes
    for i in range(33):
        part, at = (train, i) if i < 24 else (val, i - 24)
        assert data.read(i) == part.read(at)
        assert data.name(i) == part.name(at)
    keys = [data.source.key(i) for i in range(33)]
    assert len(set(keys)) == 33
    assert keys[24] == 'blue/part1/0.png'  # of the same name as an image of the first


def test_labels_offset_and_dropped(image_folder):
    data = concat(image_folder, FOLDER, VAL, labels='offset')
    assert data.labels[24:] == [label + 3 for label in data.labels[:24:8] for _ in range(3)]
    assert data.classes == ('0.blue', '0.green', '0.red', '1.blue', '1.green', '1.red')
    dropped = concat(image_folder, FOLDER, VAL, labels='drop')
    assert (dropped.labels, dropped.classes) == ([], ())
    assert 'label' not in dropped[0]['data_samples']


def test_one_source_without_labels_leaves_none(image_folder, tmp_path, make_image):
    make_image().save(tmp_path / '0.png')
    bare = dict(type='FolderSource', data_root=str(tmp_path), split='')
    data = concat(image_folder, FOLDER, bare)
    assert (len(data), data.labels) == (25, [])
    assert data.source.unlabelled.startswith('source 1')


@pytest.mark.parametrize('form', FORMS)
def test_every_format_gives_identical_views(image_folder, tmp_path, form):
    for split in ('train', 'val'):
        pack(image_folder, tmp_path, '--to', form, '--split', split, '--per-file', 5)
    kind = FORMS[form]
    copies = concat(tmp_path, dict(type=kind), dict(type=kind, split='val'))
    same(items(copies), items(concat(image_folder, FOLDER, VAL)))
    mixed = concat(tmp_path, dict(type=kind), dict(VAL, data_root=str(image_folder)))
    same(items(mixed), items(copies))


def test_shards_keep_their_locality(image_folder, tmp_path):
    for split in ('train', 'val'):
        pack(image_folder, tmp_path, '--to', 'shards', '--split', split, '--per-file', 5)
    data = concat(tmp_path, dict(type='ShardSource'), dict(type='ShardSource', split='val'))
    assert (data.locality, data.source.shards) == ('shard', [5, 5, 5, 5, 4, 5, 4])
    assert [int(end) for end in data.source.ends] == [5, 10, 15, 20, 24, 29, 33]
    assert sorted(i for _, i in EpochSampler(data, seed=3)) == list(range(33))
    mixed = concat(tmp_path, dict(type='ShardSource'), dict(VAL, data_root=str(image_folder)))
    assert mixed.locality is None


def test_a_part_of_a_data_set_is_a_source(image_folder):
    half = dict(share=(0.0, 0.5))  # of an ImageDataset, the default
    data = concat(image_folder, half, VAL)
    alone = ImageDataset(str(image_folder), 'train', share=(0.0, 0.5))
    assert len(data) == len(alone) + 9 == 21
    assert [data.read(i) for i in range(12)] == [alone.read(i) for i in range(12)]
    assert data.labels[:12] == alone.labels


# how often an image comes -------------------------------------------------------------------------
def sampled(data, epoch=0, rank=0, world=1, skip=0, seed=7):
    sampler = EpochSampler(data, seed=seed)
    sampler.rank, sampler.world_size = rank, world
    sampler.set_epoch(epoch)
    sampler.seek(epoch, skip)
    return list(sampler), len(sampler)


def test_repeats(image_folder):
    data = concat(image_folder, FOLDER, VAL, repeats=(1, 3))
    order, length = sampled(data)
    assert len(order) == length == 24 + 3 * 9
    counts = Counter(at[1] for at in order)
    assert counts == {i: 1 if i < 24 else 3 for i in range(33)}
    assert len(set(order)) == 51  # each time with views of its own
    assert {at[2:] for at in order} == {(), (1,), (2,)}
    views = [data[at]['inputs'][0] for at in order if at[1] == 30]
    assert not (views[0] == views[1]).all() and not (views[1] == views[2]).all()


def test_fractions_are_rounded_anew_in_each_epoch(image_folder):
    data = concat(image_folder, FOLDER, VAL, repeats=(0.5, 1.25))
    total = Counter()
    for epoch in range(400):
        order, length = sampled(data, epoch)
        assert len(order) == length == 23  # of 23.25
        counts = Counter(at[1] for at in order)
        assert all(counts[i] in (0, 1) for i in range(24))
        assert all(counts[i] in (1, 2) for i in range(24, 33))
        total += counts
    means = np.array([total[i] / 400 for i in range(33)])
    scale = 23 / 23.25
    np.testing.assert_allclose(means[:24], 0.5 * scale, atol=0.11)  # 4 standard errors
    np.testing.assert_allclose(means[24:], 1.25 * scale, atol=0.11)


def test_weights_are_the_shares_of_an_epoch(image_folder):
    data = concat(image_folder, FOLDER, VAL, weights=(1, 2))
    order, length = sampled(data)
    assert length == len(order) == 33
    assert sum(at[1] >= 24 for at in order) == 22
    assert data.describe() == '33 images of 3 classes, 33 in an epoch'


def test_balance_is_that_of_mmengine(image_folder):
    labels = [0] * 70 + [1] * 25 + [2] * 5
    ours = class_repeat_factors(labels, 0.5)
    theirs = np.array(_their_factors(labels, 0.5))
    np.testing.assert_allclose(ours, theirs, rtol=1e-12)
    few = dict(type='ImageDataset', per_class=1)
    data = concat(image_folder, dict(FOLDER, subset=''), few, balance=0.5)
    np.testing.assert_allclose(
        data.repeat_factors, class_repeat_factors(data.labels, 0.5), rtol=1e-12
    )


def _their_factors(labels, threshold):
    class Images:
        def __len__(self):
            return len(labels)

        def get_cat_ids(self, i):
            return [labels[i]]

    wrapper = SimpleNamespace(dataset=Images())
    return TheirBalanced._get_repeat_factors(wrapper, wrapper.dataset, threshold)


@pytest.mark.parametrize('skip', [0, 5, 20])
def test_ranks_and_resuming_read_the_same(image_folder, skip):
    data = concat(image_folder, FOLDER, VAL, repeats=(0.7, 2.5))
    whole, _ = sampled(data, 3)
    assert whole == sampled(data, 3)[0] != sampled(data, 4)[0]
    ranks = [sampled(data, 3, rank, 2)[0] for rank in (0, 1)]
    assert [at for pair in zip(*ranks, strict=True) for at in pair] == whole[: len(whole) // 2 * 2]
    assert sampled(data, 3, skip=skip)[0] == whole[skip:]


def test_evaluation_reads_each_image_once(image_folder):
    data = concat(image_folder, FOLDER, VAL, repeats=(1, 3))
    assert [i for _, i in EpochSampler(data, shuffle=False)] == list(range(33))


def test_factors_of_a_part_are_kept(image_folder):
    thrice = dict(type='ConcatSource', sources=[VAL], repeats=[3])
    inner = dict(type='ImageDataset', per_class=2, source=thrice)
    data = concat(image_folder, inner, FOLDER, repeats=(2, 1))
    assert data.repeat_factors.tolist() == [6.0] * 6 + [1.0] * 24


REFUSED = {
    'nothing': (dict(sources=[]), 'sources', []),
    'shares of fewer': (dict(weights=(1,)), 'weights', (1,)),
    'no share': (dict(weights=(1, 0)), 'weights', (1, 0)),
    'a word': (dict(repeats=('a', 1)), 'repeats', ('a', 1)),
    'both': (dict(repeats=(1, 1), weights=(1, 1)), 'weights', (1, 1)),
    'a frequency': (dict(balance=2), 'balance', 2),
    'balance without labels': (dict(balance=0.5, labels='drop'), 'balance', 0.5),
}


@pytest.mark.parametrize(('settings', 'key', 'value'), REFUSED.values(), ids=REFUSED)
def test_refusals(image_folder, settings, key, value):
    source = dict(type='ConcatSource', sources=[FOLDER, VAL]) | settings
    with refuses(f'dataset.source.{key}', value):
        ImageDataset(str(image_folder), 'train', source=source)


def test_classes_that_differ_are_not_kept(image_folder, tmp_path, make_image):
    (tmp_path / 'dog').mkdir()
    make_image().save(tmp_path / 'dog/0.png')
    dogs = dict(type='FolderSource', data_root=str(tmp_path), split='')
    (tmp_path / 'cat').mkdir()
    make_image().save(tmp_path / 'cat/0.png')
    with refuses('dataset.source.labels', 'keep') as caught:
        concat(image_folder, FOLDER, dogs)
    assert 'cat, dog' in str(caught.value) and 'blue, green, red' in str(caught.value)
    assert concat(image_folder, FOLDER, dogs, labels='offset').classes[3:] == ('cat', 'dog')


@pytest.mark.parametrize('kind', ['RepeatAugSampler', 'DefaultSampler'])
def test_other_samplers_would_not_obey(image_folder, kind):
    data = concat(image_folder, FOLDER, repeats=[2])
    with refuses('sampler.type', kind):
        if kind == 'RepeatAugSampler':
            RepeatAugSampler(data)
        else:
            ResumableSampler(data, dict(type=kind))


def test_masks_are_not_joined(tmp_path):
    root = write(tmp_path)
    with pytest.raises(UserError) as caught:
        concat(root, dict(type='ImageNetSSource'), split='train-semi')
    assert caught.value.key == 'dataset.source.labels'
