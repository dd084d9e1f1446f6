"""What every room may use and what knows no other room."""

from .curve import Clock, Curve
from .errors import UserError

__all__ = ['Clock', 'Curve', 'UserError']
