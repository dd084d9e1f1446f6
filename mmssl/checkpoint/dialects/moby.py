"""MoBY's pretraining files; its linear ones are classifiers, see `libraries`."""

from ..template import Pair
from .base import Dialect, sides, split_order, weights_only
from .families import SWIN


def _mlp(foreign: str, ours: str) -> tuple[Pair, Pair]:
    return (
        Pair(foreign + 'linear_out.{rest}', ours + '{last}.{rest}'),
        # their hidden list begins with an Identity
        Pair(foreign + 'linear_hidden.{i}.{rest}', ours + '{i-1}.{rest}'),
    )


MOBY = Dialect(
    'moby',
    roots=('model',),
    sign=r'encoder_k\.',
    pairs=(
        *sides({'student': 'encoder.', 'teacher': 'encoder_k.'}, *SWIN),
        *_mlp('projector.', 'student.neck.project.'),
        *_mlp('projector_k.', 'teacher.neck.project.'),
        *_mlp('predictor.', 'head.predictor.'),
        Pair('queue1', 'queue.bank0'),
        Pair('queue2', 'queue.bank1'),
        Pair('queue_ptr', 'queue.pointer'),
    ),
    order=split_order(r'(encoder|projector|predictor)\.', weights_only),
)
