"""Limits on what the content of a file may hold, so that walking through it takes linear time."""

from typing import Any

from torch import Tensor

from .builders import Refused

# a training file of ViT-L holds 2,000 tensors, its names have 60 characters and 9 levels
TENSORS = 100_000  # of a safetensors file; a pickle's steps allow about as many
ENTRIES = 2_000_000  # with every use of a shared list or dict counted
DEPTH = 64  # dicts and lists inside each other
NAME = 1_000  # characters of a key of a dict
BITS = 1_000  # of a whole number: Python writes at most 4,300 digits
COPIES = 8  # bytes that tensors may view for each byte of the file
SPARE = 1 << 24  # bytes of views for a small file
HEADER = 1 << 25  # bytes of a safetensors header; 100,000 long names take 20 million


def check_limits(content: Any, size: int) -> None:
    """Check the content of a file of ``size`` bytes against the limits.

    Raises Refused, in one line, for dicts and lists that hold themselves, unfold to more entries
    than a file can have, or are nested without end, for long keys and numbers, and for tensors
    that view the same bytes many times.
    """
    counts = _Counter().count(content, DEPTH)
    if counts[0] > ENTRIES:
        raise Refused(f'its lists unfold to more than {ENTRIES} entries')
    if counts[1] > COPIES * size + SPARE:
        raise Refused(f'its tensors view its bytes more than {COPIES} times')


def check_header(header: bytes) -> None:
    """Check the header of a safetensors file: a description of every tensor. Raises Refused."""
    if header.count(b'data_offsets') > TENSORS:
        raise Refused(f'it holds more than {TENSORS} tensors')


class _Counter:
    """Counts (entries, bytes of tensors), each shared list or dict once, with all its uses."""

    def __init__(self) -> None:
        self.known: dict[int, tuple[int, int]] = {}
        self.open: set[int] = set()

    def count(self, node: Any, depth: int) -> tuple[int, int]:
        """Count what a node holds; ``depth`` is how many levels it may have."""
        if isinstance(node, Tensor):
            return 1, node.numel() * node.element_size()
        if isinstance(node, int) and node.bit_length() > BITS:
            raise Refused(f'a whole number of more than {BITS} bits')
        if not isinstance(node, (dict, list, tuple)):
            return 1, 0
        if id(node) in self.known:
            return self.known[id(node)]
        if id(node) in self.open:
            raise Refused(f'a {type(node).__name__} that holds itself')
        if not depth:
            raise Refused(f'more than {DEPTH} dicts and lists inside each other')
        self.open.add(id(node))
        total = self._inside(node, depth - 1)
        self.open.remove(id(node))
        self.known[id(node)] = total
        return total

    def _inside(self, node: Any, depth: int) -> tuple[int, int]:
        entries, stored = 1, 0
        for item in node:
            if isinstance(item, (str, bytes)) and len(item) > NAME and isinstance(node, dict):
                raise Refused(f'a name of more than {NAME} characters')
            value = node[item] if isinstance(node, dict) else item
            more, bytes_of_it = self.count(value, depth)
            entries += more
            stored += bytes_of_it
        return entries, stored
