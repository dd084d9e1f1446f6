"""run.json: one entry for each start, there after every epoch."""

import json
import os

import pytest

from mmssl.engine.hooks import run_info_hook

from ..helpers.tiny import log, losses, make_runner

OFF = dict(val_cfg=None, val_dataloader=None, val_evaluator=None)


def sessions(work_dir):
    return json.loads((work_dir / 'run.json').read_text())['sessions']


def test_a_run_leaves_its_facts(tiny_config, tmp_path):
    runner = make_runner(tiny_config(), tmp_path, **OFF)
    losses(runner)
    (entry,) = sessions(tmp_path)
    assert entry['data'] == runner.train_dataloader.dataset.describe()
    assert (entry['epoch'], entry['max_epochs'], entry['model']) == (3, 3, 'MoCoV3')
    assert entry['command'].startswith('python ') and entry['seconds'] > 0
    assert 50 < entry['peak_memory'] < run_info_hook.machine()['memory'] * 1024
    assert entry['machine']['cores'] <= (os.cpu_count() or 1)
    assert set(entry['versions']) == {'mmssl', 'python', *run_info_hook.PACKAGES}


def test_a_resumed_run_adds_an_entry_and_a_new_one_starts_over(tiny_config, tmp_path):
    config = tiny_config()
    losses(make_runner(config, tmp_path, **OFF, train_cfg__max_epochs=2, param_scheduler=None))
    options = dict(OFF, param_scheduler=None)
    losses(make_runner(config, tmp_path, **options, resume=True))
    assert [entry['epoch'] for entry in sessions(tmp_path)] == [2, 3]
    losses(make_runner(config, tmp_path, **options, overwrite=True))
    assert [entry['epoch'] for entry in sessions(tmp_path)] == [3]


@pytest.mark.parametrize(
    'damaged',
    ['', '{"sessions": [{"epo', '\xff\xfe', '{}', '[1]', '{"sessions": 3}', '{"sessions": [{}]}'],
)
def test_a_damaged_file_does_not_keep_a_run_from_resuming(tiny_config, tmp_path, damaged):
    config = tiny_config()
    options = dict(OFF, param_scheduler=None)
    losses(make_runner(config, tmp_path, **options, train_cfg__max_epochs=2))
    (tmp_path / 'run.json').write_bytes(damaged.encode('latin1'))
    losses(make_runner(config, tmp_path, **options, resume=True))
    assert [entry['epoch'] for entry in sessions(tmp_path)] == [3]
    assert log(tmp_path).count('run.json: passed over') == 1


def test_a_list_of_bad_images_that_is_no_text_does_not_either(tiny_config, tmp_path):
    config = tiny_config()
    share = dict(default_hooks__bad_samples__share=0.5)
    options = dict(OFF, param_scheduler=None, **share)
    losses(make_runner(config, tmp_path, **options, train_cfg__max_epochs=2))
    (tmp_path / 'bad_images.txt').write_bytes(b'a/\xff.png: damaged\n')
    assert len(losses(make_runner(config, tmp_path, **options, resume=True))) == 4
    assert (tmp_path / 'bad_images.txt').read_bytes() == b'a/\xff.png: damaged\n'


def test_an_interrupted_run_has_an_entry(tiny_config, tmp_path):
    runner = make_runner(tiny_config(), tmp_path, **OFF)
    step, seen = runner.model.train_step, []

    def stop(*args):
        seen.append(1)
        if len(seen) > 6:
            raise KeyboardInterrupt
        return step(*args)

    runner.model.train_step = stop
    with pytest.raises(KeyboardInterrupt):
        runner.train()
    assert [entry['epoch'] for entry in sessions(tmp_path)] == [1]
