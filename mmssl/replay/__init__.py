"""Record some steps of a run, and replay them on another machine, device, type or version."""

from .compare import Comparison
from .record_file import Record, read_record
from .recorded_views import RecordedViews
from .recorder import StepRecorder
from .replay import replay
from .trace import Trace, TraceHook

__all__ = [
    'Comparison',
    'Record',
    'RecordedViews',
    'StepRecorder',
    'Trace',
    'TraceHook',
    'read_record',
    'replay',
]
