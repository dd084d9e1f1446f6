"""mmselfsup and mmpretrain 1.x: MoCo v1, v2, v3 and SwAV; classifiers are in `libraries`."""

from ..template import Pair
from .base import Dialect, Lines, sides
from .families import MM_VIT, PLAIN


def _backbone(prefix: str, lines: Lines) -> Lines:
    return tuple((prefix + foreign, ours) for foreign, ours in lines)


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
            ('neck.mlp.{rest}', 'neck.project.{rest}'),
            ('neck.fc.{rest}', 'neck.project.0.{rest}'),
            *_backbone('backbone.', PLAIN),
        ),
        *sides(
            {'teacher': 'encoder_k.module.'},
            ('1.mlp.{rest}', 'neck.project.{rest}'),
            ('1.fc.{rest}', 'neck.project.0.{rest}'),
            *_backbone('0.', PLAIN),
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
            *_backbone('backbone.', MM_VIT),
        ),
        *sides(
            {'teacher': 'momentum_encoder.module.'},
            *_mlp('1.', 'neck.project.'),
            *_backbone('0.', MM_VIT),
        ),
        *(Pair(*line) for line in _mlp('head.predictor.', 'head.predictor.')),
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
