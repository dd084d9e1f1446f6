"""Layouts of checkpoint files, each a table between its names and ours.

Our own names: ``student.backbone.net.*``, ``student.neck.<name>.*``, ``teacher.*`` alike and
``head.*``.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from ..core import UserError
from .template import Pair

State = dict[str, Tensor]
BUFFER = re.compile(
    r'(running_mean|running_var|num_batches_tracked|queue\d?|queue_ptr'
    r'|relative_position_index|attn_mask)$'
)


@dataclass(frozen=True)
class Dialect:
    """One layout: where the tensors are, how to recognise it, and its table, first match wins.

    ``roots`` are top-level entries to look in ('' is the file itself), the first that fits;
    ``sections`` are entries that belong together, their names put in front of the keys.
    ``sign`` is a pattern some key must match, wrappers' ``module.`` removed; ``export`` is the
    side meant for downstream use; ``order`` lists, per optimizer group, the keys whose optimizer
    state the file stores by position.
    """

    name: str
    sign: str
    pairs: tuple[Pair, ...]
    roots: tuple[str, ...] = ()
    sections: tuple[str, ...] = ()
    export: str = 'student'
    order: Callable[[State], list[list[str]]] | None = field(default=None, compare=False)

    def find(self, content: dict[str, Any]) -> State | None:
        """Return the file's tensors by foreign name, or None when it is another layout."""
        entries = [content.get(root) if root else content for root in self.roots]
        if self.sections and isinstance(content.get(self.sections[0]), dict):
            entries.append(
                {
                    f'{section}.{key}': value
                    for section in self.sections
                    for key, value in (content.get(section) or {}).items()
                }
            )
        for entry in entries:
            if not isinstance(entry, dict):
                continue
            state = {k: v for k, v in entry.items() if isinstance(k, str) and hasattr(v, 'shape')}
            if any(re.match(self.sign, bare(key)) for key in state):
                return state
        return None

    def name_of(self, key: str, target: Iterable[str] = ()) -> str | None:
        """Translate one foreign name; of several lines that fit, the one the target has."""
        found = None
        for pair in self.pairs:
            if pair.matches(bare(key)):
                name = pair.to_ours(bare(key), target)
                if name is None or name in target:
                    return name
                found = found or name
        return found

    def translate(self, state: State, target: Iterable[str] = ()) -> tuple[State, list[str]]:
        """Return (tensors by our names, foreign names that are dropped)."""
        target = set(target)
        ours: State = {}
        dropped = []
        for key, value in state.items():
            name = self.name_of(key, target)
            if name is None:
                dropped.append(key)
            else:
                ours[name] = value
        return ours, dropped


def bare(key: str) -> str:
    """Remove the name that data-parallel wrappers put in front."""
    return re.sub(r'^(student\.|teacher\.|)module\.', r'\1', key)


def sides(names: dict[str, str], *pairs: tuple[str, str | None]) -> tuple[Pair, ...]:
    """Repeat pairs for each side: names maps our side to the foreign prefix."""
    return tuple(
        Pair(prefix + foreign, None if ours is None else f'{side}.{ours}')
        for side, prefix in names.items()
        for foreign, ours in pairs
    )


# orders of optimizer state ----------------------------------------------------------------------
def stored_order(state: State) -> list[list[str]]:
    """One group: parameters in the order the file stores them, buffers left out."""
    return [[key for key in state if not BUFFER.search(key)]]


def split_order(
    trained: str, decayed: Callable[[str, Tensor], bool]
) -> Callable[[State], list[list[str]]]:
    """Two groups, decayed and not, of the keys that match ``trained``."""

    def order(state: State) -> list[list[str]]:
        groups: list[list[str]] = [[], []]
        for key, value in state.items():
            if re.match(trained, bare(key)) and not BUFFER.search(key):
                groups[0 if decayed(key, value) else 1].append(key)
        return groups

    return order


def _weights_only(key: str, value: Tensor) -> bool:
    return value.ndim > 1 and not key.endswith('.bias')


def _weights_and_biases(key: str, value: Tensor) -> bool:
    return value.ndim > 1 or key.endswith('.bias')


# network families -------------------------------------------------------------------------------
PLAIN: tuple[tuple[str, str | None], ...] = (('{rest}', 'backbone.net.{rest}'),)
# a stage of the microsoft layout ends with its patch merging, one of timm begins with it
SWIN: tuple[tuple[str, str | None], ...] = (
    ('layers.{i}.blocks.{j}.attn.relative_position_index', None),
    ('layers.{i}.blocks.{j}.attn_mask', None),
    ('layers.{i}.downsample.{rest}', 'backbone.net.layers.{i+1}.downsample.{rest}'),
    ('absolute_pos_embed', 'backbone.absolute_pos_embed'),
    *PLAIN,
)

# weights shared between local and global tokens are stored under both names
VIL: tuple[tuple[str, str | None], ...] = (
    *(
        (
            f'layer{{i}}.{{j}}.attn.{n}_global.{{rest}}',
            f'backbone.net.layer{{i}}.{{j}}.attn.{n}.{{rest}}',
        )
        for n in ('query', 'kv', 'proj')
    ),
    ('layer{i}.{j}.attn.relative_position_index', None),
)

MOCO = Dialect(
    'mocov2',
    roots=('state_dict',),
    sign=r'encoder_q\.(conv1|fc)\.',
    pairs=(
        *sides(
            {'student': 'encoder_q.', 'teacher': 'encoder_k.'},
            ('fc.weight', 'neck.project.0.weight'),
            ('fc.bias', 'neck.project.0.bias'),
            ('fc.{rest}', 'neck.project.{rest}'),
            *PLAIN,
        ),
        Pair('queue', 'queue.bank0'),
        Pair('queue_ptr', 'queue.pointer'),
    ),
    order=stored_order,
)

MOCOV3 = Dialect(
    'mocov3',
    roots=('state_dict',),
    sign=r'base_encoder\.',
    pairs=(
        *sides(
            {'student': 'base_encoder.', 'teacher': 'momentum_encoder.'},
            ('head.{rest}', 'neck.project.{rest}'),
            ('fc.{rest}', 'neck.project.{rest}'),
            *PLAIN,
        ),
        Pair('predictor.{rest}', 'head.predictor.{rest}'),
    ),
    order=stored_order,
)


def _moby_mlp(foreign: str, ours: str) -> tuple[Pair, Pair]:
    return (
        # their hidden list begins with an Identity
        Pair(foreign + 'linear_hidden.{i}.{rest}', ours + '{i-1}.{rest}'),
        Pair(foreign + 'linear_out.{rest}', ours + '{last}.{rest}'),
    )


MOBY = Dialect(
    'moby',
    roots=('model',),
    sign=r'encoder_k\.',
    pairs=(
        *sides({'student': 'encoder.', 'teacher': 'encoder_k.'}, *SWIN),
        *_moby_mlp('projector.', 'student.neck.project.'),
        *_moby_mlp('projector_k.', 'teacher.neck.project.'),
        *_moby_mlp('predictor.', 'head.predictor.'),
        Pair('queue1', 'queue.bank0'),
        Pair('queue2', 'queue.bank1'),
        Pair('queue_ptr', 'queue.pointer'),
    ),
    order=split_order(r'(encoder|projector|predictor)\.', _weights_only),
)

SWAV = Dialect(
    'swav',
    roots=('state_dict', ''),
    sign=r'(projection_head|prototypes)\.',
    pairs=(
        Pair('projection_head.{rest}', 'student.neck.project.{rest}'),
        Pair('prototypes.{rest}', 'head.prototypes.{rest}'),
        Pair('queue', 'head.memory.bank'),
        Pair('{rest}', 'student.backbone.net.{rest}'),
    ),
    order=stored_order,
)

ESVIT = Dialect(
    'esvit',
    sections=('student', 'teacher', 'dino_loss'),
    sign=r'teacher\.(backbone\.backbone\.|layers\.|stage\d|layer\d|blocks\.)',
    pairs=(
        *sides(
            {'student': 'student.', 'teacher': 'teacher.'},
            ('head.{rest}', 'neck.view.{rest}'),
            ('head_dense.{rest}', 'neck.region.{rest}'),
            ('backbone.backbone.{rest}', 'backbone.net.{rest}'),
            *VIL,
            *SWIN,
        ),
        Pair('dino_loss.center', 'head.center'),
        Pair('dino_loss.center_grid', 'region_head.center'),
    ),
    export='teacher',
    order=split_order(r'student\.', _weights_only),
)

_IBOT_SIDES = sides(
    {'student': 'student.', 'teacher': 'teacher.'},
    ('head.last_layer2.{rest}', 'neck.view.last_layer2.{rest}'),
    ('head.last_layer2.{rest}', 'neck.view.last_layer.{rest}'),  # shared: both names, one layer
    ('head.{rest}', 'neck.view.{rest}'),
    ('backbone.channel_sere.{rest}', 'neck.channel.{rest}'),
    ('backbone.pixel_sere.{rest}', 'neck.spatial.{rest}'),
    ('backbone.channel_sere_local.{rest}', 'neck.channel_local.{rest}'),
    ('backbone.pixel_sere_local.{rest}', 'neck.spatial_local.{rest}'),
    ('backbone.masked_embed', 'backbone.mask_token'),
    ('backbone.{rest}', 'backbone.net.{rest}'),
)


def _ibot(name: str, sign: str, decayed: Callable[[str, Tensor], bool]) -> Dialect:
    return Dialect(
        name,
        sections=('student', 'teacher', 'ibot_loss'),
        sign=sign,
        pairs=(
            *_IBOT_SIDES,
            Pair('ibot_loss.center', 'head.center'),
            Pair('ibot_loss.center2', 'patch_head.center'),
        ),
        export='teacher',
        order=split_order(r'student\.', decayed),
    )


SERE = _ibot('sere', r'student\.backbone\.channel_sere\.', _weights_and_biases)
IBOT = _ibot('ibot', r'student\.backbone\.masked_embed', _weights_only)

OURS = Dialect(
    'mmssl',
    roots=('state_dict', ''),
    sign=r'(student\.backbone|backbone)\.net\.',
    pairs=(Pair('{rest}', '{rest}'),),
)

DIALECTS = {
    dialect.name: dialect for dialect in (MOCO, MOCOV3, MOBY, SWAV, SERE, IBOT, ESVIT, OURS)
}


def register_dialect(dialect: Dialect) -> Dialect:
    """Make a layout known to every loader and converter, for methods that live elsewhere.

    Registering it again changes nothing. Raises UserError when another one has its name.
    """
    if DIALECTS.setdefault(dialect.name, dialect) != dialect:
        raise UserError(f"dialect '{dialect.name}' exists already: give yours another name")
    return dialect


def detect(content: dict[str, Any], path: str, dialect: str = 'auto') -> tuple[Dialect, State]:
    """Return (dialect, tensors by foreign name) of a file.

    Raises UserError when no layout fits, or the named one does not.
    """
    if dialect != 'auto' and dialect not in DIALECTS:
        raise UserError(f"dialect '{dialect}' is unknown; use one of {', '.join(DIALECTS)}")
    known = DIALECTS.values() if dialect == 'auto' else [DIALECTS[dialect]]
    for candidate in known:
        state = candidate.find(content)
        if state is not None:
            return candidate, state
    what = f"not a '{dialect}' file" if dialect != 'auto' else 'of no known layout'
    keys = ', '.join(map(str, list(content)[:6]))
    raise UserError(f'{path}: {what} (its entries begin with: {keys})')
