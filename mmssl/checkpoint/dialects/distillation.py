"""DINO and its children EsViT, iBOT and SERE: student, teacher and the loss with its centres."""

from collections.abc import Callable

from torch import Tensor

from ..template import Pair
from .base import Dialect, prefixed, sides, split_order, weights_and_biases, weights_only
from .families import RESNET, SWIN, VIL

SIDES = {'student': 'student.', 'teacher': 'teacher.'}

ESVIT = Dialect(
    'esvit',
    sections=('student', 'teacher', 'dino_loss'),
    sign=r'teacher\.(backbone\.backbone\.|layers\.|stage\d|layer\d|blocks\.)',
    pairs=(
        *sides(
            SIDES,
            ('head.{rest}', 'neck.view.{rest}'),
            ('head_dense.{rest}', 'neck.region.{rest}'),
            ('backbone.backbone.{rest}', 'backbone.net.{rest}', '', RESNET),
            *VIL,
            *SWIN,
        ),
        Pair('dino_loss.center', 'head.center'),
        Pair('dino_loss.center_grid', 'region_head.center'),
    ),
    export='teacher',
    order=split_order(r'student\.', weights_only),
)

DINO = Dialect(
    'dino',
    sections=('student', 'teacher', 'dino_loss'),
    sign=r'teacher\.backbone\.(?!backbone\.)',
    unless=r'student\.(backbone\.masked_embed|head\.last_layer2)',
    pairs=(
        *sides(
            SIDES,
            ('head.{rest}', 'neck.view.{rest}'),
            ('backbone.{rest}', 'backbone.net.{rest}'),
        ),
        Pair('dino_loss.center', 'head.center'),
    ),
    export='teacher',
    order=split_order(r'student\.', weights_only),
)

_IBOT_SIDES = sides(
    SIDES,
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


def _ibot(
    name: str, sign: str, decayed: Callable[[str, Tensor], bool], unless: str = ''
) -> Dialect:
    return Dialect(
        name,
        sections=('student', 'teacher', 'ibot_loss'),
        sign=sign,
        unless=unless,
        pairs=(
            *_IBOT_SIDES,
            Pair('ibot_loss.center', 'head.center'),
            Pair('ibot_loss.center2', 'patch_head.center'),
        ),
        export='teacher',
        order=split_order(r'student\.', decayed),
    )


RELATIONS = r'student\.backbone\.(channel|pixel)_sere\.'
SERE = _ibot('sere', RELATIONS, weights_and_biases)
IBOT = _ibot(
    'ibot', r'student\.(backbone\.masked_embed|head\.last_layer2)', weights_only, RELATIONS
)
