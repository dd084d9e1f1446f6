"""mmselfsup and mmpretrain 1.x: MoCo v1, v2, v3 and SwAV; classifiers are in `libraries`."""

from ..template import Pair
from .base import Dialect, Lines, prefixed, sides, single
from .families import MM_VIT, PLAIN
from .moco import DEEP


def _mlp(foreign: str, ours: str) -> Lines:
    """Layers fc0, bn0, fc1, ... of a NonLinearNeck; ours are numbered with the activations."""
    return tuple(
        line
        for i in range(4)
        for line in (
            (f'{foreign}fc{i}.{{rest}}', f'{ours}{3 * i}.{{rest}}'),
            (f'{foreign}bn{i}.{{rest}}', f'{ours}{3 * i + 1}.{{rest}}'),
        )
    )


MM_MOCO = Dialect(
    'mm_mocov2',
    roots=('state_dict',),
    sign=r'encoder_k\.module\.',
    pairs=(
        *sides(
            {'student': ''},
            ('neck.mlp.{rest}', 'neck.project.{rest}', '', DEEP),
            ('neck.fc.{rest}', 'neck.project.0.{rest}'),
            *prefixed('backbone.', PLAIN),
        ),
        *sides(
            {'teacher': 'encoder_k.module.'},
            ('1.mlp.{rest}', 'neck.project.{rest}', '', DEEP),
            ('1.fc.{rest}', 'neck.project.0.{rest}'),
            *prefixed('0.', PLAIN),
        ),
        Pair('encoder_k.steps', None),
        Pair('queue', 'queue.bank0'),
        Pair('queue_ptr', 'queue.pointer'),
    ),
)

MM_MOCOV3 = Dialect(
    'mm_mocov3',
    roots=('state_dict',),
    sign=r'momentum_encoder\.module\.',
    pairs=(
        *sides(
            {'student': ''},
            *_mlp('neck.', 'neck.project.'),
            *prefixed('backbone.', MM_VIT + PLAIN),
        ),
        *sides(
            {'teacher': 'momentum_encoder.module.'},
            *_mlp('1.', 'neck.project.'),
            *prefixed('0.', MM_VIT + PLAIN),
        ),
        *single(*_mlp('head.predictor.', 'head.predictor.')),
        Pair('momentum_encoder.steps', None),
    ),
)

MM_SWAV = Dialect(
    'mm_swav',
    roots=('state_dict',),
    sign=r'neck\.projection_neck\.',
    pairs=(
        Pair('neck.projection_neck.{rest}', 'student.neck.project.{rest}'),
        # the norm of the projection once more
        Pair('neck.bn.{rest}', None),
        Pair('neck.norm.{rest}', None),
        Pair('head.loss_module.prototypes.{rest}', 'head.prototypes.{rest}'),  # mmpretrain
        Pair('head.loss.prototypes.{rest}', 'head.prototypes.{rest}'),  # mmselfsup
        Pair('backbone.{rest}', 'student.backbone.net.{rest}'),
    ),
)
