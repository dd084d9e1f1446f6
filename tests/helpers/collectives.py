"""Call sites of collectives: those in the package's source, and those that a call passes."""

import ast
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

from torch import Tensor

from mmssl.core import dist

from .paths import REPO

PACKAGE = REPO / 'mmssl'
COLLECTIVES = (
    *('gather', 'gather_uneven', 'sum_over_ranks', 'largest_over_ranks', 'from_rank_zero'),
    *('object_from_rank_zero', 'call_on_rank_zero', 'gather_objects', 'wait'),
)
OF_OBJECTS = ('object_from_rank_zero', 'gather_objects')


@cache
def call_sites() -> dict[tuple[str, int], str]:
    """Return every call of a collective of `core.dist`: (file, line) -> 'file:function'."""
    found: dict[tuple[str, int], str] = {}
    for file in sorted(PACKAGE.rglob('*.py')):
        if file.relative_to(PACKAGE).parts[0] == 'gpu_check':
            continue  # tries the functions themselves
        tree = ast.parse(file.read_text())
        functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and _collective(node.func):
                # of nested functions the innermost, which `walk` gives last
                inside = [f for f in functions if f.lineno <= node.lineno <= (f.end_lineno or 0)]
                name = f'{file.relative_to(PACKAGE)}:{inside[-1].name}'
                found[str(file), node.lineno] = name
    return found


def _collective(function: ast.expr) -> bool:
    return (
        isinstance(function, ast.Attribute)
        and isinstance(function.value, ast.Name)
        and function.value.id == 'dist'
        and function.attr in COLLECTIVES
    )


def tensors_in(value: Any) -> list[Tensor]:
    """Return the tensors that a plain value holds, at any depth."""
    if isinstance(value, Tensor):
        return [value]
    items = value.values() if isinstance(value, dict) else value
    if isinstance(value, (dict, list, tuple, set)):
        return [tensor for item in items for tensor in tensors_in(item)]
    return []


@contextmanager
def recorded(note: Callable[[str], Any]) -> Iterator[None]:
    """Call ``note`` with the name of each call site that a block passes.

    What travels as an object must hold no tensor: it would come back on the sender's device.
    """
    calls: dict[str, Any] = {name: _noting(name, note) for name in COLLECTIVES}
    with mock.patch.multiple(dist, **calls):
        yield


def _noting(name: str, note: Callable[[str], Any]) -> Callable[..., Any]:
    inner = getattr(dist, name)

    def call(*args: Any, **kwargs: Any) -> Any:
        frame = sys._getframe(1)
        site = call_sites().get((str(Path(frame.f_code.co_filename)), frame.f_lineno))
        if site is not None:
            note(site)
        if name in OF_OBJECTS:
            assert not tensors_in(args), site
        return inner(*args, **kwargs)

    return call
