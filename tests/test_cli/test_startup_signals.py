"""A signal in the first seconds ends a tool with one line and its status, wherever it is."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mmssl import startup_signals

from ..helpers.paths import REPO

STALL = """
import pathlib, time
pathlib.Path({marker!r}).touch()
time.sleep(60)
"""
FORMATTER = """
def FormatCode(*args, **kwargs):
    {stall}
"""


@pytest.fixture
def stalled(tmp_path: Path, tiny_config):
    """Return a starter of a training that stalls at a stage; it returns when it is there."""
    found: list[subprocess.Popen] = []

    def start(stage: str, **environment: str) -> subprocess.Popen:
        marker, shadows = tmp_path / 'here', tmp_path / 'shadows'
        stall = STALL.format(marker=str(marker))
        config = tiny_config()
        shadows.mkdir()
        if stage == 'import':
            (shadows / 'timm.py').write_text(stall)
        elif stage == 'config':
            config = tmp_path / 'config.py'
            config.write_text(stall)
        else:  # mmengine takes any exception of its formatter for a mistake in the config
            folder = shadows / 'yapf' / 'yapflib'
            folder.mkdir(parents=True)
            (folder / '__init__.py').touch()
            (folder.parent / '__init__.py').write_text("__version__ = '0.43.0'\n")
            indented = stall.strip().replace('\n', '\n    ')
            (folder / 'yapf_api.py').write_text(FORMATTER.format(stall=indented))
        words = [sys.executable, str(REPO / 'tools/train.py'), str(config), '--work-dir']
        process = subprocess.Popen(
            [*words, str(tmp_path / 'work')],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
            env=os.environ | dict(PYTHONPATH=f'{shadows}:{REPO}') | environment,
        )
        found.append(process)
        while not marker.exists():
            assert process.poll() is None, process.communicate()
            time.sleep(0.02)
        return process

    yield start
    for process in found:
        process.kill()
        process.communicate()


@pytest.mark.slow
@pytest.mark.parametrize(
    ('stage', 'number'),
    [
        ('import', signal.SIGINT),
        ('import', signal.SIGTERM),
        ('config', signal.SIGINT),
        ('format', signal.SIGINT),
        ('format', signal.SIGTERM),
    ],
)
def test_one_line_and_the_status_of_the_signal(stalled, stage, number):
    process = stalled(stage)
    process.send_signal(number)
    _, text = process.communicate(timeout=60)
    lines = [line for line in text.splitlines() if 'Warning' not in line and 'warn' not in line]
    assert lines == [f'{number.name}: ended'], text
    assert process.returncode == 128 + number


@pytest.mark.slow
def test_other_ranks_and_ignored_signals_are_silent(stalled):
    process = stalled('import', RANK='1')
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=60) == ('', '')
    assert process.returncode == 130


@pytest.mark.parametrize(
    ('program', 'tool'),
    [
        (REPO / 'tools' / 'train.py', True),
        (REPO / 'tools' / 'model_converters' / 'export.py', True),
        (REPO / 'mmssl' / 'tools.py', False),
        ('/usr/local/bin/mmssl', True),
        ('/usr/bin/pytest', False),
        ('-c', False),
        ('', False),
    ],
)
def test_programs_that_import_mmssl_keep_their_signals(program, tool):
    assert startup_signals.is_tool(str(program)) == tool
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
