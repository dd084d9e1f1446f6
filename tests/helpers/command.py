"""Run the command-line tools as a user does, or in this process as if."""

import os
import runpy
import socket
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from mmengine.logging import MessageHub, MMLogger
from mmengine.registry import DefaultScope
from mmengine.visualization import Visualizer

from mmssl.core import UserError

from .paths import REPO
from .refusals import check_refusal


class Done(NamedTuple):
    """What a command left; ``error`` is known where it ran in this process."""

    code: int
    out: str
    err: str
    error: UserError | None = None


def start(*words: object, cwd: Path, script: str = 'tools/train.py', **environment: str) -> Done:
    """Start a new process; the network is out of reach for it."""
    head = [] if script.endswith('.sh') else [sys.executable]
    path = f'{Path(sys.executable).parent}{os.pathsep}{os.environ["PATH"]}'
    found = subprocess.run(
        [*head, str(REPO / script), *map(str, words)],
        capture_output=True,
        text=True,
        cwd=cwd,
        check=False,
        timeout=300,
        env=os.environ | dict(PYTHONPATH=str(REPO), PATH=path, OMP_NUM_THREADS='1') | environment,
    )
    return Done(found.returncode, found.stdout, found.stderr)


def call(
    capsys: pytest.CaptureFixture[str], *words: object, script: str = 'tools/train.py'
) -> Done:
    """Run the tool in this process, which costs no start."""
    for kind in (DefaultScope, MessageHub, MMLogger, Visualizer):
        kind._instance_dict.clear()  # a new process would know no earlier run
    capsys.readouterr()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, 'argv', [script, *map(str, words)])
        try:
            runpy.run_path(str(REPO / script), run_name='__main__')
            code, cause = 0, None
        except SystemExit as error:
            code, cause = int(error.code or 0), error.__context__
    return Done(code, *capsys.readouterr(), cause if isinstance(cause, UserError) else None)


def refused(done: Done, key: str = '', value: object = None) -> str:
    """Check that a command ended with exactly one line on what is wrong; return the line.

    With ``key`` the error is about it, and ``value`` was given for it.
    """
    assert done.code == 2, done
    lines = done.err.splitlines()
    assert len(lines) == 1, done.err
    assert lines[0].startswith('error: ')
    assert 'Traceback' not in done.out
    if key:
        assert done.error is not None, 'only `call` knows the error: use it, or leave key out'
        check_refusal(done.error, key, value)
    return lines[0]


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return str(probe.getsockname()[1])
