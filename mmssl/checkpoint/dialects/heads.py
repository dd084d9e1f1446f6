"""Linear classifiers that are stored without their network: SwAV, DINO, EsViT and iBOT."""

from typing import Any

from ..template import Pair
from .base import Dialect, State


def best(content: dict[str, Any], state: State) -> State:
    """Of the heads that iBOT trains at once, keep the one it found best."""
    index = content.get('best_acc_hidx')
    if not isinstance(index, int):
        return state
    chosen = f'{index}.module.'
    return {k.removeprefix(chosen): v for k, v in state.items() if k.startswith(chosen)}


LINEAR = Dialect(
    'linear',
    roots=('state_dict',),
    sign=r'linear\.weight',
    unless=r'(?!(linear|bn)\.)',
    prefix=r'\d+\.module\.',
    pairs=(Pair('linear.{rest}', 'head.fc.{rest}'), Pair('bn.{rest}', 'head.norm.{rest}')),
    choose=best,
)
