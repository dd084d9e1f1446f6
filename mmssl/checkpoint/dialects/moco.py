"""MoCo v1, v2 and v3, as their official codes write them."""

from ..template import Pair
from .base import Dialect, sides, stored_order
from .families import PLAIN, RESNET

DEEP = r'neck\.project\.[1-9]'  # of version 2

MOCO = Dialect(
    'mocov2',
    roots=('state_dict',),
    sign=r'encoder_q\.(conv1|fc)\.',
    pairs=(
        *sides(
            {'student': 'encoder_q.', 'teacher': 'encoder_k.'},
            ('fc.{i}.{rest}', 'neck.project.{i}.{rest}', '', DEEP),
            ('fc.{rest}', 'neck.project.0.{rest}'),  # version 1
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
            ('fc.{rest}', 'neck.project.{rest}', '', RESNET),
            ('head.{rest}', 'neck.project.{rest}'),
            *PLAIN,
        ),
        Pair('predictor.{rest}', 'head.predictor.{rest}'),
    ),
    order=stored_order,
)
