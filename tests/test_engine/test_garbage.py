"""Garbage is collected at the same iterations on all ranks, by hand."""

import gc

import pytest

from mmssl.engine import garbage

from ..helpers.tiny import Watch, make_runner

QUIET = dict(val_cfg=None, val_dataloader=None, val_evaluator=None, train_cfg__max_epochs=2)


def test_collections_of_a_run(tiny_config, tmp_path, monkeypatch):
    monkeypatch.setattr(garbage, 'INTERVAL', 3)
    runner = make_runner(tiny_config(), tmp_path, **QUIET)
    collected, by_itself = [], set()

    def note(phase, info):
        if phase == 'start':
            collected.append((info['generation'], runner.iter))

    runner.register_hook(Watch(lambda *_: by_itself.add(gc.isenabled())))
    training = runner.train_loop.run

    def watched():
        gc.callbacks.append(note)
        try:
            return training()
        finally:
            gc.callbacks.remove(note)

    runner.train_loop.run = watched
    assert gc.isenabled()
    runner.train()
    assert gc.isenabled() and by_itself == {False}
    # every third of eight iterations, and the ends of both epochs
    assert collected == [(1, 3), (2, 4), (1, 6), (2, 8)]


@pytest.mark.parametrize('before', [True, False])
def test_what_it_was_before_comes_back(before):
    (gc.enable if before else gc.disable)()
    try:
        with pytest.raises(KeyError), garbage.collected_by_hand():
            assert not gc.isenabled()
            raise KeyError
        assert gc.isenabled() is before
    finally:
        gc.enable()
