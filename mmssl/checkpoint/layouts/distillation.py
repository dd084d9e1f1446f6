"""Layouts of DINO, EsViT, iBOT and SERE files: student, teacher, and the loss with its centres."""

from collections.abc import Callable

from torch import Tensor

from .layout import (
    RESNET,
    Layout,
    branches,
    prefixed,
    split_order,
    weights_and_biases,
    weights_only,
)
from .name_template import NamePair
from .swin import SWIN
from .vil import VIL

BRANCHES = {'student': 'student.', 'teacher': 'teacher.'}

ESVIT = Layout(
    'esvit',
    sections=('student', 'teacher', 'dino_loss'),
    sign=r'teacher\.(backbone\.backbone\.|layers\.|stage\d|layer\d|blocks\.)',
    pairs=(
        *branches(
            BRANCHES,
            ('head.{rest}', 'neck.view.{rest}'),
            ('head_dense.{rest}', 'neck.region.{rest}'),
            ('backbone.backbone.{rest}', 'backbone.net.{rest}', '', RESNET),
            *VIL,
            *SWIN,
        ),
        NamePair('dino_loss.center', 'head.center'),
        NamePair('dino_loss.center_grid', 'region_head.center'),
    ),
    export='teacher',
    order=split_order(r'student\.', weights_only),
)

DINO = Layout(
    'dino',
    sections=('student', 'teacher', 'dino_loss'),
    sign=r'teacher\.backbone\.(?!backbone\.)',
    unless=r'student\.(backbone\.masked_embed|head\.last_layer2)',
    pairs=(
        *branches(
            BRANCHES,
            ('head.{rest}', 'neck.view.{rest}'),
            ('backbone.{rest}', 'backbone.net.{rest}'),
        ),
        NamePair('dino_loss.center', 'head.center'),
    ),
    export='teacher',
    order=split_order(r'student\.', weights_only),
)

_IBOT_BRANCHES = branches(
    BRANCHES,
    ('head.last_layer.{rest}', 'neck.view.last_layer.{rest}'),
    ('head.last_layer2.{rest}', 'neck.view.last_layer2.{rest}'),
    ('head.last_layer2.{rest}', 'neck.view.last_layer.{rest}'),  # shared: both names, one layer
    ('head.{rest}', 'neck.view.{rest}'),
    ('backbone.channel_sere.{rest}', 'neck.channel.{rest}'),
    ('backbone.pixel_sere.{rest}', 'neck.spatial.{rest}'),
    ('backbone.channel_sere_local.{rest}', 'neck.channel_local.{rest}'),
    ('backbone.pixel_sere_local.{rest}', 'neck.spatial_local.{rest}'),
    ('backbone.masked_embed', 'backbone.mask_token'),
    *prefixed('backbone.', SWIN),
)


def _ibot(name: str, sign: str, decayed: Callable[[str, Tensor], bool], unless: str = '') -> Layout:
    return Layout(
        name,
        sections=('student', 'teacher', 'ibot_loss'),
        sign=sign,
        unless=unless,
        pairs=(
            *_IBOT_BRANCHES,
            NamePair('ibot_loss.center', 'head.center'),
            NamePair('ibot_loss.center2', 'patch_head.center'),
            # SERE's code alone has these
            NamePair('ibot_loss.center_accum', 'head.collected'),
            NamePair('ibot_loss.center2_accum', 'patch_head.collected'),
        ),
        export='teacher',
        order=split_order(r'student\.', decayed),
    )


RELATIONS = r'student\.backbone\.(channel|pixel)_sere\.'
SERE = _ibot('sere', RELATIONS, weights_and_biases)
IBOT = _ibot(
    'ibot', r'student\.(backbone\.masked_embed|head\.last_layer2)', weights_only, RELATIONS
)
