"""Layouts of mmselfsup and mmpretrain 1.x: MoCo v1, v2, v3 and SwAV; classifiers: `libraries`.

OpenSelfSup and mmselfsup 0.x write MoCo otherwise, as sequences of a backbone and a neck.
"""

from .layout import UNCHANGED, Layout, NameLines, branches, one_network, prefixed
from .moco import DEEP, QUEUE
from .name_template import NamePair
from .vit import MM_VIT


def _mlp(foreign: str, ours: str) -> NameLines:
    """Layers fc0, bn0, fc1, ... of a NonLinearNeck; ours are numbered with the activations."""
    return tuple(
        line
        for i in range(4)
        for line in (
            (f'{foreign}fc{i}.{{rest}}', f'{ours}{3 * i}.{{rest}}'),
            (f'{foreign}bn{i}.{{rest}}', f'{ours}{3 * i + 1}.{{rest}}'),
        )
    )


# a backbone and MoCo's neck in a row
MOCO_SEQUENCE: NameLines = (
    ('1.mlp.{rest}', 'neck.project.{rest}', '', DEEP),
    ('1.fc.{rest}', 'neck.project.0.{rest}'),
    *prefixed('0.', UNCHANGED),
)

MM_MOCO = Layout(
    'mm_mocov2',
    roots=('state_dict',),
    sign=r'encoder_k\.module\.',
    pairs=(
        *branches(
            {'student': ''},
            ('neck.mlp.{rest}', 'neck.project.{rest}', '', DEEP),
            ('neck.fc.{rest}', 'neck.project.0.{rest}'),
            *prefixed('backbone.', UNCHANGED),
        ),
        *branches(
            {'teacher': 'encoder_k.module.'},
            *MOCO_SEQUENCE,
        ),
        NamePair('encoder_k.steps', None),
        *QUEUE,
    ),
)

OPENSELFSUP_MOCO = Layout(
    'openselfsup_mocov2',
    roots=('state_dict',),
    sign=r'encoder_q\.0\.',
    pairs=(
        *branches(
            {'student': 'encoder_q.', 'teacher': 'encoder_k.'},
            *MOCO_SEQUENCE,
        ),
        NamePair('backbone.{rest}', None),  # the student's under another name
        *QUEUE,
    ),
)

MM_MOCOV3 = Layout(
    'mm_mocov3',
    roots=('state_dict',),
    sign=r'momentum_encoder\.module\.',
    pairs=(
        *branches(
            {'student': ''},
            *_mlp('neck.', 'neck.project.'),
            *prefixed('backbone.', MM_VIT + UNCHANGED),
        ),
        *branches(
            {'teacher': 'momentum_encoder.module.'},
            *_mlp('1.', 'neck.project.'),
            *prefixed('0.', MM_VIT + UNCHANGED),
        ),
        *one_network(*_mlp('head.predictor.', 'head.predictor.')),
        NamePair('momentum_encoder.steps', None),
    ),
)

MM_SWAV = Layout(
    'mm_swav',
    roots=('state_dict',),
    sign=r'neck\.projection_neck\.',
    pairs=(
        NamePair('neck.projection_neck.{rest}', 'student.neck.project.{rest}'),
        # the norm of the projection once more
        NamePair('neck.bn.{rest}', None),
        NamePair('neck.norm.{rest}', None),
        NamePair('head.loss_module.prototypes.{rest}', 'head.prototypes.{rest}'),  # mmpretrain
        NamePair('head.loss.prototypes.{rest}', 'head.prototypes.{rest}'),  # mmselfsup
        NamePair('backbone.{rest}', 'student.backbone.net.{rest}'),
    ),
)
