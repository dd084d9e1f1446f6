"""Orders for storages with fast sequential reading: shards, a cache of one rank's share."""

from types import SimpleNamespace

import pytest
import torch

from mmssl.core import dist
from mmssl.datasets import EpochSampler, ImageDataset
from mmssl.datasets.sources import shards
from mmssl.engine import Runner
from mmssl.registry import DATASETS

from ..helpers.packed import pack

LENGTHS = [7, 40, 3, 25, 25]


class Shards:
    """Only what the sampler asks for."""

    locality = 'shard'
    takes_epoch = True
    source = SimpleNamespace(shards=LENGTHS, ends=[7, 47, 50, 75, 100])

    def __len__(self):
        return 100


def order(dataset, monkeypatch, rank=0, world=1, batch=4, workers=1, epoch=0, skip=0):
    monkeypatch.setattr(dist, 'rank', lambda: rank)
    monkeypatch.setattr(dist, 'world_size', lambda: world)
    sampler = EpochSampler(dataset, seed=3)
    sampler.serve(batch, workers)
    sampler.set_epoch(epoch)
    sampler.skip = skip
    found = [index for _, index in sampler]
    assert len(found) == len(sampler) - skip
    return found


@pytest.mark.parametrize(
    ('world', 'workers', 'batch'), [(1, 1, 4), (1, 3, 4), (2, 2, 3), (4, 3, 2)]
)
def test_workers_of_all_ranks_share_shards_without_repeating(monkeypatch, world, workers, batch):
    found = [order(Shards(), monkeypatch, r, world, batch, workers) for r in range(world)]
    assert len({len(f) for f in found}) == 1
    joined = [i for f in found for i in f]
    assert len(set(joined)) == len(joined) > 100 - world * workers * batch - world * workers
    # batch b goes to worker b % W, who meets few shards
    for one in found:
        batches = [one[i : i + batch] for i in range(0, len(one), batch)]
        for worker in range(workers):
            own = [i for b in batches[worker::workers] for i in b]
            met = {sum(i >= end for end in Shards.source.ends) for i in own}
            assert len(met) <= 2 + len(own) // 20


def test_epochs_differ_and_the_middle_can_be_resumed(monkeypatch):
    whole = order(Shards(), monkeypatch, batch=5, workers=2)
    assert order(Shards(), monkeypatch, batch=5, workers=2) == whole
    assert order(Shards(), monkeypatch, batch=5, workers=2, skip=35) == whole[35:]
    assert order(Shards(), monkeypatch, batch=5, workers=2, epoch=1) != whole
    assert sorted(whole) != whole


def test_images_are_shuffled_within_windows(monkeypatch):
    from mmssl.datasets import sampler

    monkeypatch.setattr(sampler, 'WINDOW', 10)
    found = order(Shards(), monkeypatch, batch=1)
    rank = {s: k for k, s in enumerate(dict.fromkeys(_shard(i) for i in found))}
    row = sorted(found, key=lambda i: (rank[_shard(i)], i))
    for at in range(0, 100, 10):
        assert sorted(found[at : at + 10]) == sorted(row[at : at + 10])


def _shard(i):
    return sum(i >= end for end in Shards.source.ends)


def test_a_stream_opens_each_shard_once(image_folder, tmp_path, monkeypatch):
    pack(image_folder, tmp_path, '--to', 'shards', '--per-file', 5)
    data = ImageDataset(str(tmp_path), 'train', source=dict(type='ShardSource'))
    assert data.locality == 'shard'
    opened = []
    real = shards.open_stream
    monkeypatch.setattr(shards, 'open_stream', lambda url: opened.append(url) or real(url))
    for index in order(data, monkeypatch, batch=4, workers=1):
        data.read(index)
    assert len(opened) == len(set(opened)) == 5
    assert shards.WINDOW >= 24


def test_a_part_cache_is_asked_for_its_share_only(monkeypatch):
    class Part:
        locality = 'rank'
        takes_epoch = True

        def __len__(self):
            return 101

    for rank in (0, 1):
        found = order(Part(), monkeypatch, rank, 2)
        assert len(found) == 50
        assert {i % 2 for i in found} == {rank}
        assert found != sorted(found)
        assert found != order(Part(), monkeypatch, rank, 2, epoch=1)


def test_evaluation_and_subsets_keep_their_order(image_folder, tmp_path, monkeypatch):
    pack(image_folder, tmp_path, '--to', 'shards', '--per-file', 5)
    config = dict(data_root=str(tmp_path), split='train', source=dict(type='ShardSource'))
    data = ImageDataset(**config)
    sampler = EpochSampler(data, shuffle=False)
    assert [index for _, index in sampler] == list(range(24))
    part = ImageDataset(**config, per_class=2)
    assert part.locality is None
    assert len(part) == 6


@pytest.mark.parametrize('workers', [0, 2])
def test_a_loader_reads_shards(image_folder, tmp_path, monkeypatch, workers):
    """Views are those of the folder's images, whatever the order, which needs all the workers."""
    monkeypatch.setattr('mmssl.engine.loaders.own_cores', lambda: 1)
    pack(image_folder, tmp_path, '--to', 'shards', '--per-file', 5)
    view = dict(type='RandomView', size=8)
    pipeline = [dict(type='LoadImage'), dict(type='MultiView', views=[view])]
    common = dict(split='train', pipeline=pipeline, seed=2)
    whole = DATASETS.build(dict(type='ImageDataset', data_root=str(image_folder), **common))
    source = dict(type='ShardSource')
    loader = Runner.build_dataloader(
        dict(
            batch_size=3,
            num_workers=workers,
            drop_last=True,
            sampler=dict(type='EpochSampler', _scope_='mmssl'),
            dataset=dict(
                type='ImageDataset',
                _scope_='mmssl',
                data_root=str(tmp_path),
                source=source,
                **common,
            ),
        ),
        seed=2,
    )
    assert loader.num_workers == workers
    assert loader.sampler.workers == max(1, workers)
    loader.sampler.set_epoch(1)
    seen = []
    for batch in loader:
        for k, index in enumerate(batch['data_samples']['index'].tolist()):
            assert torch.equal(batch['inputs'][0][k], whole[1, index]['inputs'][0])
            seen.append(index)
    assert len(loader) == len(seen) // 3 == 8
    assert len(set(seen)) == 24
