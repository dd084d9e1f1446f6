"""Work dirs that are no folders, or that go away during a run: one line each."""

import shutil
from pathlib import Path

import pytest
from mmengine.hooks import Hook

from mmssl.engine.state import work_dir_files

from ..helpers.refusals import refuses
from ..helpers.tiny import make_runner


@pytest.mark.parametrize(
    'name', ['file', 'file/below', 'x' * 300, '/'.join(['y' * 200] * 30), 'loop/below', 'nul\0']
)
def test_what_can_be_no_folder_is_refused_before_anything_is_built(tiny_config, tmp_path, name):
    (tmp_path / 'file').touch()
    (tmp_path / 'loop').symlink_to(tmp_path / 'loop')
    with refuses('work_dir', f'{tmp_path}/{name}'):
        make_runner(tiny_config(), tmp_path / name)
    assert (tmp_path / 'file').read_bytes() == b''


def test_devices_are_no_folders():
    for name in ('/dev/null', '/dev/null/below'):
        with refuses('work_dir', name):
            work_dir_files.make(name)


class Away(Hook):
    """Move or remove the work dir at an iteration."""

    priority = 'VERY_HIGH'

    def __init__(self, target: Path | None) -> None:
        self.target = target

    def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
        if runner.iter == 2:
            if self.target is None:
                shutil.rmtree(runner.work_dir)
            else:
                Path(runner.work_dir).rename(self.target)


@pytest.mark.parametrize('target', ['elsewhere', None])
def test_a_work_dir_that_goes_away_is_named_and_the_run_can_go_on(tiny_config, tmp_path, target):
    settings = dict(default_hooks__checkpoint__iterations=1, train_cfg__max_epochs=1)
    runner = make_runner(tiny_config(), tmp_path / 'run', **settings)
    runner.register_hook(Away(tmp_path / target if target else None))
    with refuses('work_dir', str(tmp_path / 'run')):
        runner.train()
    if target:
        assert (tmp_path / target / 'iter_2.pth').is_file()
        resumed = make_runner(tiny_config(), tmp_path / target, **settings, resume=True)
        resumed.train()
        assert resumed.iter == 4
