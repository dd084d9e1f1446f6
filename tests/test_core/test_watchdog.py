"""The collective watchdog names the rank that the others wait for."""

import json
import threading
import time

import pytest
import torch

from mmssl.core import dist, watchdog
from mmssl.core.watchdog import ProcessStatus, Watchdog, collective, status


class Store(dict):
    """A launcher's store in this process; ``moves`` are the ranks that go on publishing."""

    moves = ()

    def check(self, keys):
        return all(key in self for key in keys)

    def get(self, key):
        place = json.loads(self[key])
        if place['rank'] in self.moves:
            place['beats'] += 1
        self[key] = json.dumps(place)
        return self[key]

    def put(self, rank, step, what, count, waits=True):
        place = dict(
            rank=rank, name=f'rank {rank} (h, pid {rank})', step=step, what=what, count=count
        )
        self[f'mmssl/{rank}'] = json.dumps(place | dict(waits=waits, beats=1))


@pytest.fixture
def dog(monkeypatch):
    monkeypatch.setattr(watchdog, 'BEAT', 0.001)
    return Watchdog(Store(), 0, 3, 5)


def test_a_rank_behind_is_named(dog):
    dog.store.moves = (0, 1, 2)
    dog.store.put(0, 6, 'gradients', 42)
    dog.store.put(1, 5, 'agreement', 40, waits=False)
    dog.store.put(2, 6, 'gradients', 42)
    assert dog.suspects() == (
        'rank 1 (h, pid 1) is behind: step 5, working alone (data, files or evaluation) after '
        "'agreement'"
    )


def test_a_rank_without_a_sign_of_life_is_named(dog):
    dog.store.moves = (0, 1)
    dog.store.put(0, 6, 'gather', 42)
    dog.store.put(1, 6, 'gather', 42)
    dog.store.put(2, 6, 'gather', 41)
    told = "rank 2 (h, pid 2) gives no sign of life: step 6, in 'gather'"
    assert dog.suspects() == told
    del dog.store['mmssl/2']
    assert dog.suspects() == 'rank 2 never gave a sign of life'


def test_when_all_are_equal_the_collective_is_named(dog, monkeypatch):
    monkeypatch.setattr(status, 'what', 'barrier')
    monkeypatch.setattr(status, 'step', 9)
    dog.store.moves = (0, 1, 2)
    for rank in range(3):
        dog.store.put(rank, 9, 'barrier', 50)
    assert dog.suspects() == "all ranks wait in 'barrier' of step 9"


def test_a_store_that_is_gone(dog, monkeypatch):
    monkeypatch.setattr(dog.store, 'check', lambda _: (_ for _ in ()).throw(RuntimeError))
    assert 'the first process, which holds the list of all, does not answer' in dog.suspects()


def test_collectives_nest_and_end(monkeypatch):
    monkeypatch.setattr(watchdog, 'status', ProcessStatus())
    mine = watchdog.status
    with collective('forward'):
        outer = mine.since
        assert (mine.what, mine.count) == ('forward', 1)
        time.sleep(0.01)
        with collective('gather'):
            assert (mine.what, mine.count) == ('gather', 2)
            assert mine.since > outer
        assert mine.what == 'gather'  # the last collective
        assert mine.since is not None
    assert (mine.count, mine.since) == (2, None)
    with pytest.raises(ValueError, match='x'), collective('sum'):
        raise ValueError('x')
    assert mine.since is None


def _watched():
    before = status.count
    watchdog.start(60)
    dog = watchdog._watchdog
    dist.sum_over_ranks(torch.ones(2))
    dog._publish()
    dist.wait()
    places = dog.places()
    watchdog.stop()
    return dist.rank(), status.count - before, places, dog.is_alive(), watchdog._watchdog


def test_ranks_publish_where_they_are(two_ranks):
    for _, count, places, alive, left in two_ranks(_watched):
        assert count == 2
        assert sorted(places) == [0, 1]
        assert {p['what'] for p in places.values()} <= {'sum', 'barrier'}
        assert (alive, left) == (False, None)
    assert watchdog.suspects() == 'which one, this process cannot tell'


def test_a_store_that_never_answers_is_left_alone(dog, monkeypatch):
    monkeypatch.setattr(watchdog, 'ANSWER', 0.05)
    never = threading.Event()
    monkeypatch.setattr(dog.store, 'check', lambda _: not never.wait(60))
    assert 'the first process, which holds the list of all, does not answer' in dog.suspects()
    assert watchdog.ask(lambda: never.wait(60), 0.01, 'nothing') == 'nothing'
    assert watchdog.ask(lambda: 'answer', 60, 'nothing') == 'answer'
    never.set()
