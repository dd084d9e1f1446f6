"""Layout of linear classifiers stored without their network: SwAV, DINO, EsViT and iBOT."""

from typing import Any

from .layout import Layout, State
from .name_template import NamePair


def best_head(content: dict[str, Any], state: State) -> State:
    """Keep the best of the heads that iBOT trains at once, which its file names.

    A head has a weight (classes, width) and a bias (classes).
    """
    index = content.get('best_acc_hidx')
    if not isinstance(index, int):
        return state
    chosen = f'{index}.module.'
    return {k.removeprefix(chosen): v for k, v in state.items() if k.startswith(chosen)}


LINEAR = Layout(
    'linear',
    roots=('state_dict',),
    sign=r'linear\.weight',
    unless=r'(?!(linear|bn)\.)',
    prefix=r'\d+\.module\.',
    pairs=(NamePair('linear.{rest}', 'head.fc.{rest}'), NamePair('bn.{rest}', 'head.norm.{rest}')),
    prepare=best_head,
)
