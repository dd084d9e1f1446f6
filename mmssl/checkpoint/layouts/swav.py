"""Layout of official SwAV files: training files, and the flat files of its hub."""

from .layout import Layout, stored_order
from .name_template import NamePair

DEEP = r'student\.neck\.project\.[1-9]'

SWAV = Layout(
    'swav',
    roots=('state_dict', ''),
    sign=r'(projection_head|prototypes)\.',
    unless=r'backbone\.',  # lightly's names
    pairs=(
        NamePair('projection_head.{i}.{rest}', 'student.neck.project.{i}.{rest}', '', DEEP),
        NamePair('projection_head.{rest}', 'student.neck.project.0.{rest}'),  # one layer alone
        NamePair('prototypes.{rest}', 'head.prototypes.{rest}'),
        NamePair('queue', 'head.memory.bank'),
        NamePair('{rest}', 'student.backbone.net.{rest}'),
    ),
    order=stored_order,
)
