"""Say in one line why a file does not hold the network of a model, and what to change."""

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from ..core.errors import escaped
from .architecture import differences, family
from .matching import StateMatch, is_new, match_state, of_another_network

State = dict[str, Tensor]
SHOWN = 3  # names of each kind in a message
LAST_NORM = {'net.norm.weight', 'net.norm.bias'}


class Misfit(NamedTuple):
    """What a file lacks and has more than a network; a backbone's tensors by their names."""

    missing: Sequence[str]
    mismatched: dict[str, str]  # {name: reason}, shapes or kinds of numbers
    unexpected: Sequence[str]  # those that make it another network

    def __bool__(self) -> bool:
        return bool(self.missing or self.mismatched or self.unexpected)


def misfit(match: StateMatch, wanted: State) -> Misfit:
    """Return what keeps a file from filling a network, whose tensors (any shapes) are ``wanted``.

    Leftovers of the file do not, nor norms of single maps and a mask token that it lacks.
    """
    missing = [name for name in match.missing if not is_new(name)]
    return Misfit(missing, match.mismatched, of_another_network(match.unexpected, wanted))


def compare(given: State, wanted: State) -> tuple[StateMatch, Misfit]:
    """Compare the tensors (any shapes) of a file's backbone with those of a network, by name."""
    match = match_state(wanted, given)
    return match, misfit(match, wanted)


def describe(found: Misfit, given: State, wanted: State) -> str:
    """Return counts, names and shapes of a misfit, and the settings that differ.

    ``given`` and ``wanted`` hold the tensors (any shapes) of two backbones, ``net.*``.
    """
    shapes = [f'{name} {reason}' for name, reason in found.mismatched.items()]
    parts = [
        f'{len(names)} {what} ({some(names)})'
        for what, names in (
            ('missing', found.missing),
            ('of another shape or kind', shapes),
            ('that this network does not have', found.unexpected),
        )
        if names
    ]
    settings = differences(given, wanted)
    more = f'; the file has {", ".join(settings)}' if settings else ''
    return f'{", ".join(parts)}{more}'


def advice(found: Misfit, given: State, wanted: State) -> str:
    """Return what to change, for the same arguments as those of `describe`."""
    settings = differences(given, wanted)
    if len(settings) == 1 and settings[0].startswith('img_size='):
        return f'set {settings[0].partition(" ")[0]}, or take a file of the other size'
    lost = {name.rpartition('backbone.')[2] for name in found.missing}
    if lost == LAST_NORM and not found.unexpected and family(wanted) == 'vit':
        return "set last_norm=False: the file's head normed the mean of its tokens"
    if any('beyond' in reason for reason in found.mismatched.values()):
        return 'give a file whose numbers the network can take'
    return 'check that the config names the same network'


def some(names: Sequence[str]) -> str:
    """Return the first names of a list, in words."""
    return escaped(', '.join(names[:SHOWN])) + (', ...' if len(names) > SHOWN else '')
