"""Write files whole or not at all, reduce settings to plain data, unwrap models."""

import json
import logging
import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.logging import print_log
from mmengine.model import is_model_wrapper
from torch import Tensor, nn


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a path beside ``path`` to write to; on success it takes the final name, flushed.

    Readers see the old file or the new one, never a part. On an error nothing is left.
    """
    beside = path.with_name(f'.{path.name}.{os.getpid()}')
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield beside
        with open(beside, 'rb') as file:
            os.fsync(file.fileno())
        os.replace(beside, path)
        _sync_folder(path.parent)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def atomic_write(path: Path, text: str) -> None:
    """Write a text file, whole or not at all."""
    with atomic_path(path) as beside:
        beside.write_text(text, encoding='utf-8')


def _sync_folder(folder: Path) -> None:
    """Make a rename survive a power cut."""
    at = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(at)
    finally:
        os.close(at)


def to_plain(value: Any, tensor: Callable[[Tensor], Any] = str) -> Any:
    """Reduce nested settings to dicts, lists, numbers, strings and None.

    ``tensor`` says what a tensor (any shape) becomes. Everything else becomes its text, and so do
    numbers that JSON cannot hold.
    """
    if isinstance(value, dict):
        return {k if isinstance(k, int) else str(k): to_plain(v, tensor) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_plain(item, tensor) for item in value]
    if isinstance(value, (set, frozenset)):  # whose order differs from process to process
        return sorted((to_plain(item, tensor) for item in value), key=repr)
    if value is None:
        return None
    if isinstance(value, Tensor):
        return tensor(value)
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    for kind in (bool, int, float, str):  # a file would keep the name of a subclass
        if isinstance(value, kind):
            return kind(value)
    return str(value)


def flatten(settings: Any, prefix: str = '') -> dict[str, Any]:
    """Return {key with dots: value} of nested dicts and lists; empty ones are values."""
    items = settings.items() if isinstance(settings, dict) else enumerate(settings)
    found: dict[str, Any] = {}
    for key, value in items:
        name = f'{prefix}.{key}' if prefix else str(key)
        if isinstance(value, (dict, list, tuple)) and value:
            found |= flatten(value, name)
        else:
            found[name] = value
    return found


def unwrap_model(model: nn.Module) -> Any:
    """Return the model inside the wrappers of data parallel and compiled modules."""
    inner: Any = model
    while True:
        if is_model_wrapper(inner):
            inner = inner.module
        elif '_orig_mod' in inner._modules:  # torch.compile
            inner = inner._orig_mod
        else:
            return inner


def read_json(path: Path) -> Any:
    """Return what a JSON file holds; None, which is logged, where it was cut off or is no JSON."""
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:  # also bytes that are no text
        print_log(f'{path}: passed over, it is damaged ({error})', 'current', logging.WARNING)
        return None


def read_sessions(path: Path) -> list[dict[str, Any]]:
    """Return the entries of a ``run.json``, one for each start of its run.

    The file is advice, not state: what is damaged or foreign in it is passed over, and logged.
    """
    found = read_json(path)
    if found is None:
        return []
    entries = found.get('sessions') if isinstance(found, dict) else None
    listed = entries if isinstance(entries, list) else []
    whole = [entry for entry in listed if isinstance(entry, dict) and _is_session(entry)]
    if not whole or len(whole) < len(listed):
        lost = f'{len(listed) - len(whole)} of its entries are' if listed else 'it is'
        print_log(
            f'{path}: passed over, {lost} of another kind than mmssl writes',
            'current',
            logging.WARNING,
        )
    return whole


def _is_session(entry: dict[str, Any]) -> bool:
    numbers = [entry.get('seconds'), entry.get('peak_memory')]
    return all(map(is_number, numbers)) and isinstance(entry.get('command'), str)


def is_number(value: Any) -> bool:
    """Whether a value of a JSON file is a number that a float can hold, and finite."""
    if type(value) is int:
        return value.bit_length() < 1000
    return type(value) is float and math.isfinite(value)
