"""Layout of MoBY's pretraining files; its linear ones are classifiers, see `libraries`."""

import re
from typing import Any

from .layout import Layout, State, branches, split_order, weights_only
from .name_template import NamePair
from .swin import SWIN


def number_last_layers(content: dict[str, Any], state: State) -> State:
    """Rename ``linear_out`` of each MLP to the number it has after the hidden layers.

    Tensors keep their shape (*).
    ``linear_hidden`` is [Identity, then Linear, BatchNorm, ReLU of each hidden layer]. The last
    number with tensors is a BatchNorm's: ReLU and the last Linear follow. Without hidden layers
    the last Linear follows the Identity.
    """
    last: dict[str, int] = {}
    for key in state:
        if match := re.match(r'(.*)linear_hidden\.(\d+)\.', key):
            last[match[1]] = max(last.get(match[1], 0), int(match[2]))
    renamed = {}
    for key, value in state.items():
        mlp, found, entry = key.partition('linear_out.')
        number = last[mlp] + 2 if mlp in last else 1
        renamed[f'{mlp}linear_hidden.{number}.{entry}' if found else key] = value
    return renamed


MOBY = Layout(
    'moby',
    roots=('model',),
    sign=r'encoder_k\.',
    prepare=number_last_layers,
    pairs=(
        *branches({'student': 'encoder.', 'teacher': 'encoder_k.'}, *SWIN),
        # ours have no Identity in front
        NamePair('projector.linear_hidden.{i}.{rest}', 'student.neck.project.{i-1}.{rest}'),
        NamePair('projector_k.linear_hidden.{i}.{rest}', 'teacher.neck.project.{i-1}.{rest}'),
        NamePair('predictor.linear_hidden.{i}.{rest}', 'head.predictor.{i-1}.{rest}'),
        NamePair('queue1', 'queue.bank0'),
        NamePair('queue2', 'queue.bank1'),
        NamePair('queue_ptr', 'queue.pointer'),
    ),
    order=split_order(r'(encoder|projector|predictor)\.', weights_only),
    epochs_ahead=1,  # its counter is of the last epoch that is done, from 0
)
