"""The content hash of a training file: what it covers, and its value."""

import hashlib

import pytest
import torch

from mmssl.checkpoint.content_hash import KEY, add_hash, check_hash, digest

from ..helpers.refusals import refuses

CONTENT = {
    'a': torch.tensor([[1, 2], [3, 4]], dtype=torch.int16).T,
    'b': {'c': [1, 'x', None], 7: torch.tensor(0.5, dtype=torch.bfloat16)},
    'empty': torch.ones(0, 3),
}


def test_it_is_the_sha_256_of_names_types_shapes_and_bytes():
    parts = (
        b'/a:torch.int16:(2, 2);' + b'\1\0\3\0\2\0\4\0',
        b"/b/c/0=1;/b/c/1='x';/b/c/2=None;",
        b'/b/7:torch.bfloat16:();' + b'\0\x3f',
        b'/empty:torch.float32:(0, 3);',
    )
    assert digest(CONTENT) == hashlib.sha256(b''.join(parts)).hexdigest()


@pytest.mark.parametrize(
    ('key', 'value'),
    [
        ('a', torch.tensor([[1, 3], [2, 5]], dtype=torch.int16)),
        ('a', torch.tensor([[1, 3], [2, 4]], dtype=torch.int32)),
        ('a', torch.tensor([1, 3, 2, 4], dtype=torch.int16)),
        ('b', {'c': [1, 'y', None], 7: torch.tensor(0.5, dtype=torch.bfloat16)}),
        ('b', {'c': [1, 'x', None], 7: torch.tensor(-0.5, dtype=torch.bfloat16)}),
        ('more', 0),
    ],
)
def test_every_change_is_noticed(key, value):
    sealed = add_hash(dict(CONTENT))
    check_hash(sealed, 'a.pth')
    with refuses('file', 'a.pth'):
        check_hash(sealed | {key: value}, 'a.pth')


def test_layout_in_memory_does_not_matter():
    assert digest({'a': CONTENT['a']}) == digest({'a': CONTENT['a'].contiguous()})


def test_files_without_a_hash_pass():
    check_hash(dict(CONTENT), 'a.pth')
    assert KEY not in CONTENT
