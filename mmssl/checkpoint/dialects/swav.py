"""SwAV: training files, and the flat files of its hub."""

from ..template import Pair
from .base import Dialect, stored_order

DEEP = r'student\.neck\.project\.[1-9]'

SWAV = Dialect(
    'swav',
    roots=('state_dict', ''),
    sign=r'(projection_head|prototypes)\.',
    pairs=(
        Pair('projection_head.{i}.{rest}', 'student.neck.project.{i}.{rest}', '', DEEP),
        Pair('projection_head.{rest}', 'student.neck.project.0.{rest}'),  # one layer alone
        Pair('prototypes.{rest}', 'head.prototypes.{rest}'),
        Pair('queue', 'head.memory.bank'),
        Pair('{rest}', 'student.backbone.net.{rest}'),
    ),
    order=stored_order,
)
