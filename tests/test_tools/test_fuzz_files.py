"""Inputs mutated by their fields are read or refused (tools/dev/fuzz_files.py)."""

import io
import pickle
import random
import sys
import zipfile

import pytest
import torch

from mmssl.checkpoint import read
from mmssl.checkpoint.architecture import sizes
from mmssl.checkpoint.layouts import detect
from mmssl.core.io import is_number

from ..helpers.paths import REPO
from ..helpers.refusals import refuses

sys.path.insert(0, str(REPO / 'tools' / 'dev'))
import fuzz_files


@pytest.mark.slow
def test_mutated_files_are_read_or_refused(capsys):
    """About a minute of it; 10^5 inputs of seed 0 were run for the notes."""
    shares = fuzz_files.main(['--count', '6000', '--seed', '7'])
    assert sorted(shares) == sorted(fuzz_files.KINDS)
    assert all(fuzz_files.LEAST <= share <= 1 for share in shares.values())
    assert '6000 inputs, seed 7' in capsys.readouterr().out


@pytest.mark.parametrize('kind', fuzz_files.KINDS)
def test_some_inputs_of_each_kind(tmp_path, kind):
    """Mutations change the file, the same seed gives the same one, and readers take both."""
    made = fuzz_files.KINDS[kind](tmp_path)
    contents = []
    for seed in (*range(10), 0):
        path, readers = made.make(random.Random(seed))
        contents.append(path.read_bytes() if path.is_file() else b'')
        with fuzz_files.silent():
            assert readers() in (True, False)
    assert len(set(contents)) > 3
    if kind in ('images', 'shards'):  # a zip holds the time
        assert contents[0] == contents[-1]


def test_changed_opcodes_keep_the_stack():
    """Most mutated pickles still end in one value, and another one than before."""
    value = {'a': [1, 2.5, 'x', None], 'b': {'c': (3, b'y')}}
    data = pickle.dumps(value, protocol=2)
    whole = changed = 0
    for seed in range(200):
        try:
            found = pickle.loads(fuzz_files.mutate_pickle(data, random.Random(seed)))
        except Exception:  # a stack that does not fit, an operand that is none
            continue
        whole += 1
        changed += repr(found) != repr(value)
    assert whole > 60 and changed > 0.8 * whole


# what it has found --------------------------------------------------------------------------------
def test_tensors_without_a_name(tmp_path):
    for content in ({7: torch.ones(1)}, {'state_dict': {None: torch.ones(1)}}):
        with refuses('file', 'x.pth'):
            detect(content, 'x.pth', target=['net.conv1.weight'])


def test_names_of_several_lines_are_one_in_a_message():
    with refuses('file', 'x.pth') as caught:
        detect({'a\nb': {'c\x1b[2J': 1}}, 'x.pth')
    assert 'a\\nb' in str(caught.value) and '\\x1b' in str(caught.value)


def test_tensors_without_a_size():
    state = {'net.layer1.0.conv1.weight': torch.ones(1), 'net.conv1.weight': torch.tensor(1.0)}
    with refuses('state', 'resnet'):
        sizes(state)


@pytest.mark.parametrize(
    ('value', 'fine'),
    [(1, True), (1.5, True), (10**600, False), (float('inf'), False), (True, False), ('1', False)],
)
def test_numbers_of_side_files(value, fine):
    assert is_number(value) == fine


def test_a_zip_of_other_opcodes_is_closed_again(tmp_path):
    """So that a change is met behind the check sums of the archive."""
    made = fuzz_files.Checkpoints(tmp_path)
    draws = (random.Random(seed) for seed in range(20))
    for draw in draws:
        path, _ = made.make(draw)
        with zipfile.ZipFile(io.BytesIO(path.read_bytes())) as archive:
            assert archive.testzip() is None
    torch.save(made.contents[0], path)
    assert set(read(path)) == set(made.contents[0])
