"""Layouts of official MoCo v1, v2 and v3 files."""

from .layout import RESNET, UNCHANGED, Layout, branches, stored_order
from .name_template import NamePair

DEEP = r'neck\.project\.[1-9]'  # of version 2

QUEUE = (NamePair('queue', 'queue.bank0'), NamePair('queue_ptr', 'queue.pointer'))

MOCO = Layout(
    'mocov2',
    roots=('state_dict',),
    sign=r'encoder_q\.(conv1|fc)\.',
    pairs=(
        *branches(
            {'student': 'encoder_q.', 'teacher': 'encoder_k.'},
            ('fc.{i}.{rest}', 'neck.project.{i}.{rest}', '', DEEP),
            ('fc.{rest}', 'neck.project.0.{rest}'),  # version 1
            *UNCHANGED,
        ),
        *QUEUE,
    ),
    order=stored_order,
)

MOCOV3 = Layout(
    'mocov3',
    roots=('state_dict',),
    sign=r'base_encoder\.',
    pairs=(
        *branches(
            {'student': 'base_encoder.', 'teacher': 'momentum_encoder.'},
            ('fc.{rest}', 'neck.project.{rest}', '', RESNET),
            ('head.{rest}', 'neck.project.{rest}'),
            *UNCHANGED,
        ),
        NamePair('predictor.{rest}', 'head.predictor.{rest}'),
    ),
    order=stored_order,
)
