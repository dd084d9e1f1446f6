"""Everything that moves training: runner, loop, clock, optimizers, monitors, checkpoints."""

from .bad_images import BadImageHook
from .checkpoint_hook import CheckpointHook
from .clock import ClockHook
from .compile import compile_networks
from .console import LineProcessor
from .faults import FaultHook
from .lars import LARC, LARS
from .loop import EpochLoop
from .monitor import HealthHook
from .optim_wrapper import OptimWrapper
from .record import RecordHook
from .rules import RuleConstructor
from .runner import Runner
from .schedule import CurveScheduler

__all__ = [
    'LARC',
    'LARS',
    'BadImageHook',
    'CheckpointHook',
    'ClockHook',
    'CurveScheduler',
    'EpochLoop',
    'FaultHook',
    'HealthHook',
    'LineProcessor',
    'OptimWrapper',
    'RecordHook',
    'RuleConstructor',
    'Runner',
    'compile_networks',
]
