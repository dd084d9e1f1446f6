"""What every room may use and what knows no other room."""

from .errors import UserError
from .schedule import Progress, Schedule

__all__ = ['Progress', 'Schedule', 'UserError']
