"""SHA-256 over the content of a training file, stored inside that file.

Inside, not beside it: one rename publishes file and hash together, and copying takes both.
"""

import hashlib
from collections.abc import Iterator
from typing import Any

import torch

from ..core import UserError

KEY = 'content_hash'


def add_hash(content: dict[str, Any]) -> dict[str, Any]:
    """Add the hash to a file's content, in place, and return the content."""
    content[KEY] = digest(content)
    return content


def check_hash(content: dict[str, Any], path: str) -> None:
    """Compare the content of a file with the hash in it; files without a hash pass.

    Raises UserError when the content is not what was written.
    """
    if KEY in content and content[KEY] != digest(content):
        raise UserError(
            f'{path}: damaged: its content does not match the hash stored in it; take an earlier '
            'file',
            key='file',
            value=path,
        )


def digest(content: dict[str, Any]) -> str:
    """Return the SHA-256 over names, types, shapes and bytes, in the order of the file.

    Tensors may have any shape (*) and device. The hash itself is not counted.
    """
    total = hashlib.sha256()
    for name, leaf in _leaves({k: v for k, v in content.items() if k != KEY}, ''):
        if isinstance(leaf, torch.Tensor):
            raw = leaf.detach().cpu().contiguous()
            total.update(f'{name}:{raw.dtype}:{tuple(raw.shape)};'.encode())
            total.update(raw.reshape(-1).view(torch.uint8).numpy().data)
        else:
            total.update(f'{name}={leaf!r};'.encode())
    return total.hexdigest()


def _leaves(node: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Yield (path, value) of everything that is no dict, list or tuple, depth first."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield from _leaves(value, f'{name}/{key}')
    elif isinstance(node, (list, tuple)):
        for i, value in enumerate(node):
            yield from _leaves(value, f'{name}/{i}')
    else:
        yield name, node
