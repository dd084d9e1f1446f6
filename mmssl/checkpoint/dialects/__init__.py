"""Layouts of checkpoint files, one family a file."""

from collections.abc import Iterable
from typing import Any

from torch import Tensor

from ...core import UserError
from ..template import Pair
from .base import Dialect, State, bare, sides
from .distillation import DINO, ESVIT, IBOT, SERE
from .heads import LINEAR
from .libraries import MICROSOFT, MM_SWIN, MMPRETRAIN, MMSEG, TIMM, TORCHVISION
from .moby import MOBY
from .moco import MOCO, MOCOV3
from .openmmlab import MM_MOCO, MM_MOCOV3, MM_SWAV
from .swav import SWAV

__all__ = ['DIALECTS', 'Dialect', 'State', 'bare', 'detect', 'register_dialect', 'sides']

OURS = Dialect(
    'mmssl',
    roots=('state_dict', ''),
    sign=r'(student\.backbone\.|backbone\.|)net\.',
    pairs=(
        Pair('net.{rest}', 'backbone.net.{rest}'),
        Pair('mask_token', 'backbone.mask_token'),
        Pair('absolute_pos_embed', 'backbone.absolute_pos_embed'),
        Pair('{rest}', '{rest}'),
    ),
)

_OFFICIAL = (MOCO, MOCOV3, MOBY, SWAV, SERE, IBOT, ESVIT, DINO)
_OPENMMLAB = (MM_MOCO, MM_MOCOV3, MM_SWAV, MMPRETRAIN, MM_SWIN, MMSEG)
DIALECTS = {
    dialect.name: dialect
    for dialect in (*_OFFICIAL, *_OPENMMLAB, TORCHVISION, TIMM, MICROSOFT, LINEAR, OURS)
}


def register_dialect(dialect: Dialect) -> Dialect:
    """Make a layout known to every loader and converter, for methods that live elsewhere.

    Registering it again changes nothing. Raises UserError when another one has its name.
    """
    if DIALECTS.setdefault(dialect.name, dialect) != dialect:
        raise UserError(f"dialect '{dialect.name}' exists already: give yours another name")
    return dialect


def detect(
    content: dict[str, Any], path: str, dialect: str = 'auto', target: Iterable[str] = ()
) -> tuple[Dialect, State]:
    """Return (dialect, tensors by foreign name) of a file.

    A file of no known layout whose names are those of the ``target``'s network is read as
    timm's. Raises UserError when no layout fits, the named one does not, or several do.
    """
    if dialect != 'auto' and dialect not in DIALECTS:
        raise UserError(f"dialect '{dialect}' is unknown; use one of {', '.join(DIALECTS)}")
    known = DIALECTS.values() if dialect == 'auto' else [DIALECTS[dialect]]
    found = [(d, state) for d in known if (state := d.find(content)) is not None]
    if len(found) > 1:
        names = ', '.join(d.name for d, _ in found)
        raise UserError(f'{path}: fits several layouts ({names}); say which with dialect=NAME')
    if found:
        return found[0]
    if dialect in ('auto', 'timm') and (state := _names_of(content, target)):
        return TIMM, state
    what = f"not a '{dialect}' file" if dialect != 'auto' else 'of no known layout'
    keys = ', '.join(_first_name(*entry) for entry in list(content.items())[:6])
    raise UserError(
        f'{path}: {what} (its entries begin with: {keys}); rename its tensors to one of those in '
        'docs/weights.md'
    )


def _first_name(key: Any, value: Any) -> str:
    return f'{key}.{next(iter(value))}' if isinstance(value, dict) and value else str(key)


def _names_of(content: dict[str, Any], target: Iterable[str]) -> State | None:
    """Return the file's tensors when most are named as those of the target's network."""
    nets = {key.partition('net.')[2] for key in target if 'net.' in key}
    for root in TIMM.roots:
        entry = content.get(root) if root else content
        if isinstance(entry, dict):
            state = {k: v for k, v in entry.items() if isinstance(v, Tensor)}
            if nets and 2 * sum(TIMM.bare(k) in nets for k in state) > len(state):
                return state
    return None
