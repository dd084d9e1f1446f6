"""Match the tensors of a file with those of a model: by branch, then by name.

A branch is the student or the teacher. Which tensors of the file go where in the model:

| the file has | the model has no branches             | the model has one or both       |
|--------------|---------------------------------------|---------------------------------|
| no branches  | the backbone and the classifier layer | the backbone fills every branch |
| one or both  | the backbone of the branch taken      | branch by branch, or one to all |

"Branch by branch" needs every branch of the model in the file, and that no branch is asked for.
"""

import re
from collections.abc import Callable, Iterable
from typing import NamedTuple

from torch import Tensor

from ..core import UserError

BRANCHES = ('student', 'teacher')
Names = dict[str, str]  # {name in the model: our name in the file}
State = dict[str, Tensor]  # tensors by name
# what networks compute, so that a file may have or lack it
COMPUTED = re.compile(
    r'(^|\.)(num_batches_tracked|relative_position_index|relative_coords_table|attn_mask'
    r'|rope\.periods|qkv\.bias_mask)$'
)
# norms of a backbone's single maps, which detectors train: files of pretraining lack them
MAP_NORMS = re.compile(r'(.*\bbackbone\.)?norm\d+\.(weight|bias)$')
# a mask token: files of networks that took no masks lack it
MASK_TOKEN = re.compile(r'(.*\bbackbone\.)?mask_token$')
# sums of an incomplete update, zero where a file lacks them
SUMS = re.compile(r'(^|\.)collected$')
# heads, which a file may have over the network; timm keeps norms of its own there
HEADS = re.compile(r'(head|fc|classifier)')
# what a file may have beside a network: heads, decoders and mask tokens of masked pretraining
BESIDE = re.compile(rf'{HEADS.pattern}|decoder|mask_token$')
# what stands before the blocks of a transformer and changes its tokens; masks only pretrain
TOKENS = re.compile(r'((?!mask|decoder)\w*tokens?|(absolute_)?pos_embed|(norm_pre|ln_pre)\..*)$')


# by branch --------------------------------------------------------------------------------------
def match_branches(
    names: Iterable[str], target: Iterable[str], export: str, asked: str
) -> tuple[Names, str]:
    """Return ({name in the model: our name in the file}, the branch that is taken).

    ``names`` are the file's by our names, ``target`` the model's, ``export`` the branch of the
    file that is meant for use, ``asked`` 'student', 'teacher' or 'export'. Raises UserError when
    the file has branches, but not the one to take.
    """
    names = list(names)
    in_file = branches_of(names)
    in_model = branches_of(target)
    taken = export if asked == 'export' else asked
    if in_file and taken not in in_file:
        raise UserError(
            f"the file has no {taken}; branch='{in_file[0]}' is what it has",
            key='branch',
            value=asked,
        )
    if not in_model:
        return _to_one_network(names, taken if in_file else '', target), taken
    if not in_file:
        return _to_branches(_backbone(_unchanged(names)), in_model, target), 'both from one'
    if asked == 'export' and set(in_model) <= set(in_file):
        return _unchanged(names), 'both'
    one_branch = _to_branches(_of_branch(names, taken), in_model, target)
    return one_branch | _outside_branches(names), 'both from one'


def branches_of(names: Iterable[str]) -> list[str]:
    """Return the branches that occur in our names."""
    starts = {name.partition('.')[0] for name in names}
    return [branch for branch in BRANCHES if branch in starts]


def is_backbone_alone(target: Iterable[str]) -> bool:
    """Whether a model is a Backbone itself: its names do not say so."""
    return not any('backbone.' in name for name in target)


def _to_one_network(names: list[str], branch: str, target: Iterable[str]) -> Names:
    """Return the names for a Backbone or a Classifier; ``branch`` is '' when the file has none."""
    inside = _of_branch(names, branch) if branch else _unchanged(names)
    backbone = _backbone(inside)
    if is_backbone_alone(target):
        return {k.removeprefix('backbone.'): v for k, v in backbone.items()}
    if branch:  # its head is a method's, not a classifier's
        return backbone
    return backbone | {k: v for k, v in inside.items() if k.startswith('head.')}


def _to_branches(names: Names, in_model: list[str], target: Iterable[str]) -> Names:
    """Repeat the names of one branch for all of the model's branches.

    A teacher may lack what a student has, such as a mask token.
    """
    target = set(target)
    repeated = {f'{branch}.{k}': v for branch in in_model for k, v in names.items()}
    return {k: v for k, v in repeated.items() if k in target or k.startswith('student.')}


def _unchanged(names: list[str]) -> Names:
    return {name: name for name in names}


def _of_branch(names: list[str], branch: str) -> Names:
    """Return the names of one branch, by what follows the branch."""
    start = f'{branch}.'
    return {name.removeprefix(start): name for name in names if name.startswith(start)}


def _backbone(names: Names) -> Names:
    return {k: v for k, v in names.items() if k.startswith('backbone.')}


def _outside_branches(names: list[str]) -> Names:
    """Return the names of heads, queues and centres."""
    return {name: name for name in names if name.partition('.')[0] not in BRANCHES}


# by name ----------------------------------------------------------------------------------------
class StateMatch(NamedTuple):
    """Names of tensors by what a file can do for a model.

    The model's: ``matched`` take the file's values, ``missing`` are not in the file,
    ``mismatched`` are, but do not fit ({name: reason}), ``computed`` are not in the file and need
    not be, as the network computes them. ``unexpected`` are the file's alone.
    """

    matched: list[str]
    missing: list[str]
    mismatched: dict[str, str]
    unexpected: list[str]
    computed: list[str]


def shape_difference(given: Tensor, wanted: Tensor) -> str:
    """Return how the shapes (*) of two tensors differ, in words, '' when they agree."""
    if given.shape == wanted.shape:
        return ''
    return f'{tuple(given.shape)} for {tuple(wanted.shape)}'


def is_new(name: str) -> bool:
    """Whether a part of a backbone may be new, a file without it being whole."""
    return MAP_NORMS.match(name) is not None or MASK_TOKEN.match(name) is not None


def value_difference(given: Tensor, wanted: Tensor) -> str:
    """Return why ``wanted`` (*) cannot take the values of ``given``, in words, '' when it can."""
    if given.shape != wanted.shape:
        return shape_difference(given, wanted)
    if given.is_floating_point() != wanted.is_floating_point() or given.is_complex():
        return f'{given.dtype} for {wanted.dtype}'.replace('torch.', '')
    if given.is_floating_point() and not bool(given.isfinite().all()):
        return 'with numbers that are not finite'
    if given.dtype != wanted.dtype and not bool(given.to(wanted.dtype).isfinite().all()):
        return f'with numbers beyond {wanted.dtype}'.replace('torch.', '')
    return ''


def match_state(
    target: State, given: State, difference: Callable[[Tensor, Tensor], str] = value_difference
) -> StateMatch:
    """Compare a model's tensors (any shapes), ``target``, with a file's, each by its name.

    ``difference`` says why a given tensor does not fit, or ''.
    """
    matched = []
    missing = []
    computed = []
    mismatched = {}
    for name, wanted in target.items():
        if name not in given:
            if COMPUTED.search(name):
                computed.append(name)
            elif not SUMS.search(name):
                missing.append(name)
        elif reason := difference(given[name], wanted):
            mismatched[name] = reason
        else:
            matched.append(name)
    unexpected = [name for name in given if name not in target]
    return StateMatch(matched, missing, mismatched, unexpected, computed)


def of_another_network(names: Iterable[str], target: Iterable[str]) -> list[str]:
    """Return those names that say that a file holds another network than ``target`` has.

    ``names`` are tensors of backbones that the model, ``target``, lacks. Returned are those inside
    blocks that it has (LayerScale), of further blocks (a deeper network), and of tokens and what
    changes them (registers). Heads over the network and what is computed are not among them.
    """
    series: set[str] = set()
    parts: set[str] = set()
    for name in target:
        series.update(_series(name))
        parts.add(_part(name))
    return [name for name in names if _is_inside(name, series, parts)]


def _is_inside(name: str, series: set[str], parts: set[str]) -> bool:
    """Whether a name belongs to the network that has these series of blocks, and these parts."""
    inner = inner_name(name)
    if HEADS.match(inner) or COMPUTED.search(inner) or MAP_NORMS.match(name):
        return False
    return (
        _part(name) in parts
        or TOKENS.match(inner) is not None
        or any(start in series for start in _series(name))
    )


def inner_name(name: str) -> str:
    """Return the name of a backbone's tensor without ``student.backbone.net.`` before it."""
    return name[_start(name) :]


def _start(name: str) -> int:
    """Return where the name of a backbone's part begins, behind ``student.backbone.net.``."""
    match = re.match(r'(.*?\bbackbone\.)?(net\.)?', name)
    return match.end() if match else 0


def _part(name: str) -> str:
    """Return a name up to the first part of its network, such as ``student.backbone.net.norm``."""
    start = _start(name)
    return name[:start] + name[start:].partition('.')[0]


def _series(name: str) -> list[str]:
    """Return what stands before each number that ends a part of a name: ``net.blocks.``."""
    return [name[: number.start()] for number in re.finditer(r'(?<!\d)\d+(?=\.)', name)]
