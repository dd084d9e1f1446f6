"""Training: runner, loop, hooks, optimizers, training state."""

from ..optim.lars import LARC, LARS
from .compile import compile_networks
from .console import LineProcessor
from .hooks.average_hook import AverageHook
from .hooks.bad_samples_hook import BadSamplesHook
from .hooks.checkpoint_hook import CheckpointHook
from .hooks.health_hook import HealthHook
from .hooks.logger_hook import LoggerHook
from .hooks.method_hook import MethodHook
from .hooks.non_finite_hook import NonFiniteHook
from .hooks.run_info_hook import RunInfoHook
from .hooks.runtime_info_hook import RuntimeInfoHook
from .hooks.start_hook import StartHook
from .loop import EpochLoop
from .optim.constructor import ParamGroupConstructor
from .optim.scheduler import ScheduleParam
from .optim.wrapper import OptimWrapper
from .runner import Runner

__all__ = [
    'LARC',
    'LARS',
    'AverageHook',
    'BadSamplesHook',
    'CheckpointHook',
    'EpochLoop',
    'HealthHook',
    'LineProcessor',
    'LoggerHook',
    'MethodHook',
    'NonFiniteHook',
    'OptimWrapper',
    'ParamGroupConstructor',
    'RunInfoHook',
    'Runner',
    'RuntimeInfoHook',
    'ScheduleParam',
    'StartHook',
    'compile_networks',
]
