"""Settings that a training file carries beside its tensors: official arguments, or our config."""

import ast
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ..core import UserError
from ..core.io import flatten

# where codes keep them: DINO, EsViT, iBOT and SERE; MoBY
OFFICIAL = ('args', 'config')


class FileSettings(NamedTuple):
    """Settings by name, ``a.b`` where they are nested; ``ours`` are those of a config of ours."""

    values: dict[str, Any]
    ours: bool


def settings_of(content: Mapping[str, Any], path: str | Path) -> FileSettings:
    """Return the settings inside the content of a file.

    Raises UserError when there are none, as in files of backbones and of MoCo and SwAV.
    """
    meta = content.get('meta')
    own = meta.get('settings') if isinstance(meta, Mapping) else None
    if isinstance(own, Mapping):
        return FileSettings(flatten(dict(own)), ours=True)
    for name in OFFICIAL:
        found = content.get(name)
        if isinstance(found, Mapping) and found:
            return FileSettings(_dotted(found), ours=False)
    raise UserError(
        f'{path}: holds tensors and no settings; training files of DINO, EsViT, iBOT, SERE, MoBY '
        'and mmssl have them, and args.txt beside a published file',
        key='file',
        value=str(path),
    )


def read_arguments(path: str | Path) -> FileSettings:
    """Return the settings of an ``args.txt``, one ``name: value`` a line (DINO, iBOT).

    Raises UserError for a line of another form.
    """
    values: dict[str, Any] = {}
    lines = Path(path).read_text(encoding='utf-8').splitlines()
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        name, colon, text = line.partition(':')
        if not colon:
            raise UserError(
                f"{path}: line {number} is not 'name: value'", key='file', value=str(path)
            )
        values[name.strip()] = _value(text.strip())
    return FileSettings(values, ours=False)


def _value(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _dotted(settings: Mapping[str, Any], prefix: str = '') -> dict[str, Any]:
    """Return nested settings by names with dots, without yacs' marks such as ``__immutable__``."""
    found: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping):
            found |= _dotted(value, f'{prefix}{key}.')
        elif not str(key).startswith('__'):
            found[f'{prefix}{key}'] = value
    return found
