"""Check at the start that all ranks run the same: settings, versions, seed and data."""

import hashlib
import json
import re
from typing import Any

import cv2
import PIL

from ..core import UserError, dist
from ..core.errors import escaped
from ..core.io import flatten, to_plain
from ..core.protocols import IndexedData
from .hooks.run_info_hook import versions

# settings that may differ from machine to machine: where files are, and what is shown
ELSEWHERE = {'work_dir', 'load_from', 'filename', 'log_level', 'experiment_name'}
ADDRESS = re.compile(r' at 0x[0-9a-f]+')  # of a Python object
SHOWN = 5  # facts that differ


def check_same(facts: dict[str, Any]) -> None:
    """Compare facts {name: plain value} of all ranks, which all call this.

    Raises UserError on all of them, about the first fact that differs, naming a rank that has
    another value than rank 0 has.
    """
    text = json.dumps(facts, sort_keys=True)
    digests = dist.gather_objects(hashlib.sha256(text.encode()).hexdigest())
    if len(set(digests)) == 1:
        return
    other = next(rank for rank, digest in enumerate(digests) if digest != digests[0])
    everybodys = dist.gather_objects(facts)
    first, second = everybodys[0], everybodys[other]
    differ = [key for key in sorted({*first, *second}) if first.get(key) != second.get(key)]
    told = [f'{key} is {_said(second, key)} and {_said(first, key)} on rank 0' for key in differ]
    more = f', and {len(told) - SHOWN} more' if len(told) > SHOWN else ''
    raise UserError(
        f'rank {other} differs from rank 0: {"; ".join(told[:SHOWN])}{more}. Start all processes '
        'with the same config, options, versions and data',
        key=differ[0],
        value=second.get(differ[0]),
    )


def _said(facts: dict[str, Any], key: str) -> str:
    return escaped(repr(facts[key])[:80]) if key in facts else 'nothing'


def settings_of(cfg: Any) -> dict[str, Any]:
    """Return the settings of a config by their keys, its seed among them, and versions.

    A seed that is not set is rank 0's.
    """
    plain = flatten(to_plain(cfg.to_dict()))
    settings = {
        key: ADDRESS.sub('', value) if isinstance(value, str) else value
        for key, value in plain.items()
        if not ELSEWHERE & {key.partition('.')[0]} and key.rpartition('.')[2] != 'data_root'
    }
    packages = {**versions(), 'pillow': PIL.__version__, 'cv2': cv2.__version__}
    return settings | {f'version of {name}': version for name, version in packages.items()}


def data_of(loader: Any, name: str) -> dict[str, Any]:
    """Return what tells the data of a loader from others, by keys that begin with ``name``."""
    data = getattr(loader, 'dataset', None)  # None where there is no loader
    if data is None:
        return {name: None}
    facts: dict[str, Any] = dict(items=len(data))
    if isinstance(data, IndexedData):
        facts |= data.index_digests()
    return {f'{name}: {key}': value for key, value in facts.items()}
