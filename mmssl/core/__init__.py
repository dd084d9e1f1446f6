"""Schedules, collectives, errors, files: used by every room, and importing none."""

from .errors import UserError
from .schedule import Progress, Schedule

__all__ = ['Progress', 'Schedule', 'UserError']
