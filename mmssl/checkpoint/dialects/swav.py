"""SwAV: training files, and the flat files of its hub."""

from ..template import Pair
from .base import Dialect, stored_order

SWAV = Dialect(
    'swav',
    roots=('state_dict', ''),
    sign=r'(projection_head|prototypes)\.',
    pairs=(
        Pair('projection_head.{rest}', 'student.neck.project.{rest}'),
        Pair('prototypes.{rest}', 'head.prototypes.{rest}'),
        Pair('queue', 'head.memory.bank'),
        Pair('{rest}', 'student.backbone.net.{rest}'),
    ),
    order=stored_order,
)
