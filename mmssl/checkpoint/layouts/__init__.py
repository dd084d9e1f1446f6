"""Layouts of checkpoint files: the table of all, and the detection of a file's."""

from collections.abc import Iterable
from typing import Any

from torch import Tensor

from ...core import UserError
from ...core.errors import escaped
from .dinov2 import DINOV2, DINOV3, TIMM_DINOV3
from .distillation import DINO, ESVIT, IBOT, SERE
from .heads import LINEAR
from .layout import Layout, State, branches, strip_wrappers
from .libraries import MMPRETRAIN, MMSEG, TIMM, TORCHVISION
from .moby import MOBY
from .moco import MOCO, MOCOV3
from .name_template import NamePair
from .openmmlab import MM_MOCO, MM_MOCOV3, MM_SWAV, OPENSELFSUP_MOCO
from .swav import SWAV
from .swin import MICROSOFT, MM_SWIN
from .toolboxes import HUGGINGFACE, LIGHTLY, SOLO_LEARN, VISSL

__all__ = [
    'LAYOUTS',
    'Layout',
    'State',
    'branches',
    'detect',
    'register_layout',
    'strip_wrappers',
]

OURS = Layout(
    'mmssl',
    roots=('state_dict', ''),
    sign=r'(student\.backbone\.|backbone\.|)net\.',
    pairs=(
        NamePair('net.{rest}', 'backbone.net.{rest}'),
        NamePair('mask_token', 'backbone.mask_token'),
        NamePair('absolute_pos_embed', 'backbone.absolute_pos_embed'),
        NamePair('{rest}', '{rest}'),
    ),
)

_OFFICIAL = (MOCO, MOCOV3, MOBY, SWAV, SERE, IBOT, ESVIT, DINO, DINOV2, DINOV3)
_TOOLBOXES = (VISSL, LIGHTLY, SOLO_LEARN, HUGGINGFACE)
_OPENMMLAB = (OPENSELFSUP_MOCO, MM_MOCO, MM_MOCOV3, MM_SWAV, MMPRETRAIN, MM_SWIN, MMSEG)
LAYOUTS = {
    layout.name: layout
    for layout in (
        *_OFFICIAL,
        *_OPENMMLAB,
        *_TOOLBOXES,
        TORCHVISION,
        TIMM,
        TIMM_DINOV3,
        MICROSOFT,
        LINEAR,
        OURS,
    )
}


SHOWN = 100  # characters of a file's name in a message


def register_layout(layout: Layout) -> Layout:
    """Make a layout known to every loader and converter, for methods that live elsewhere.

    Registering it again changes nothing. Raises UserError when another one has its name.
    """
    if LAYOUTS.setdefault(layout.name, layout) != layout:
        raise UserError(
            f"layout '{layout.name}' exists already: give yours another name",
            key='layout',
            value=layout.name,
        )
    return layout


def detect(
    content: dict[str, Any], path: str, layout: str = 'auto', target: Iterable[str] = ()
) -> tuple[Layout, State]:
    """Return (layout, tensors of any shape by foreign name) of a file.

    A file of no known layout whose names are those of the ``target``'s network is read as
    timm's. Raises UserError when no layout fits, the named one does not, or several do, and for
    tensors without a name.
    """
    if layout != 'auto' and layout not in LAYOUTS:
        raise UserError(
            f"layout '{layout}' is unknown; use one of {', '.join(LAYOUTS)}",
            key='layout',
            value=layout,
        )
    _check_names(content, path)
    known = LAYOUTS.values() if layout == 'auto' else [LAYOUTS[layout]]
    found = []
    for candidate in known:
        state = candidate.find(content)
        if state is not None:
            found.append((candidate, state))
    general = {candidate.special_of for candidate, _ in found}
    found = [entry for entry in found if entry[0].name not in general]
    if len(found) > 1:
        names = ', '.join(candidate.name for candidate, _ in found)
        raise UserError(
            f'{path}: fits several layouts ({names}); say which with layout=NAME',
            key='layout',
            value=layout,
        )
    if found:
        return found[0]
    if layout in ('auto', 'timm'):
        state = _state_of_the_target(content, target)
        if state:
            return TIMM, state
    what = f"not a '{layout}' file" if layout != 'auto' else 'of no known layout'
    keys = ', '.join(_first_name(*entry) for entry in list(content.items())[:6])
    raise UserError(
        f'{path}: {what} (its entries begin with: {keys}); rename its tensors to one of those in '
        'docs/weights.md',
        key='file',
        value=path,
    )


def _check_names(content: dict[str, Any], path: str) -> None:
    """Raise UserError for tensors, of the file or of a dict in it, that have no name."""
    for entry in (content, *content.values()):
        for key, value in entry.items() if isinstance(entry, dict) else ():
            if isinstance(value, Tensor) and not isinstance(key, str):
                raise UserError(
                    f'{path}: has a tensor with {str(key)[:SHOWN]} for a name; names are text, '
                    'save it again with them',
                    key='file',
                    value=path,
                )


def _first_name(key: Any, value: Any) -> str:
    """Return an entry of a file for a message, with the first name inside it; not all of it."""
    name = f'{key}.{next(iter(value))}' if isinstance(value, dict) and value else str(key)
    return escaped(name if len(name) <= SHOWN else f'{name[:SHOWN]}...')


def _state_of_the_target(content: dict[str, Any], target: Iterable[str]) -> State | None:
    """Return the file's tensors when more than half are named as in the target's network."""
    names = {key.partition('net.')[2] for key in target if 'net.' in key}
    if not names:
        return None
    for root in TIMM.roots:
        entry = content.get(root) if root else content
        if isinstance(entry, dict):
            state = {k: v for k, v in entry.items() if isinstance(v, Tensor)}
            known = sum(TIMM.strip_prefixes(key) in names for key in state)
            if 2 * known > len(state):
                return state
    return None
