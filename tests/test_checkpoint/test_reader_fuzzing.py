"""Mutated files are read or refused with a `UserError` (tools/dev/fuzz_reader.py)."""

import random
import subprocess
import sys
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmssl.checkpoint import read
from mmssl.core import UserError

from ..helpers.paths import REPO
from ..helpers.refusals import check_refusal

sys.path.insert(0, str(REPO / 'tools' / 'dev'))
import fuzz_reader


@cache
def files() -> list[tuple[str, bytes]]:
    """Real files in every container."""
    return fuzz_reader.sources()


@settings(max_examples=150)
@given(seed=st.integers(0, 2**32), which=st.integers(0, 9))
def test_mutated_files_are_read_or_refused(
    seed: int, which: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    suffix, data = files()[which]
    path = tmp_path_factory.getbasetemp() / f'fuzz{suffix}'
    path.write_bytes(fuzz_reader.mutate(suffix, data, random.Random(seed)))
    try:
        content = read(path)
    except UserError as error:
        check_refusal(error, 'file', str(path))
    else:
        assert isinstance(content, dict)


@pytest.mark.slow
def test_many_mutations_run_nothing() -> None:
    """The tool also listens to Python's audit events; 150,000 inputs were run for the notes."""
    tool = REPO / 'tools' / 'dev' / 'fuzz_reader.py'
    done = subprocess.run(
        [sys.executable, str(tool), '--count', '5000', '--seed', '7'],
        capture_output=True, text=True, check=False, env={'PYTHONPATH': str(REPO)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert '5000 inputs, seed 7' in done.stdout
    assert done.stdout.rstrip().endswith('nothing was run')
