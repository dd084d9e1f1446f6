"""Console output: short lines for a person; everything else goes to the log file only."""

import logging
import math
import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import torch
from mmengine.logging import MMLogger
from mmengine.runner import LogProcessor

from ..registry import LOG_PROCESSORS
from .hooks.start_hook import beside_start

if TYPE_CHECKING:
    from .runner import Runner

NOISE = ('Exp name:',)
# scalars with a place of their own in the line, or of no use to a reader of it
PLACED = {'epoch', 'iter', 'loss', 'uniform', 'lr', 'base_lr', 'time', 'data_time'}
ACCURACY = re.compile(r'(knn|accuracy)/top(\d+)(?:_k(\d+))?')


class _Short(logging.Formatter):
    """Time and message; the level's name only when it is a warning or worse."""

    def __init__(self) -> None:
        super().__init__('%(asctime)s  %(message)s', '%H:%M:%S')

    def formatMessage(self, record: logging.LogRecord) -> str:
        level = '' if record.levelno < logging.WARNING else f'{record.levelname.lower()}: '
        return f'{record.asctime}  {level}{record.message}'


def mute_screen(logger: MMLogger) -> dict[logging.Handler, int]:
    """Give the screen short lines and only warnings; return its levels, for `unmute_screen`."""
    levels = {h: h.level for h in logger.handlers if not isinstance(h, logging.FileHandler)}
    for handler, level in levels.items():
        handler.setFormatter(_Short())
        handler.addFilter(lambda record: not record.getMessage().startswith(NOISE))
        handler.setLevel(max(level, logging.WARNING))
    return levels


def unmute_screen(levels: dict[logging.Handler, int]) -> None:
    """Let the screen show again what it showed before `mute_screen`."""
    for handler, level in levels.items():
        handler.setLevel(level)


def _show(name: str, value: Any) -> str:
    if name == 'segmentation/miou':
        return f'mIoU {value:.1f} %'
    number = f'{value:.4g}' if isinstance(value, float) else str(value)
    found = ACCURACY.fullmatch(name)
    if not found:
        return f'{name} {number}'
    kind, top, k = found.groups()
    asked = f' (k={k})' if k else ''
    return f'{"kNN " if kind == "knn" else ""}top-{top}{asked} {value:.1f} %'


@LOG_PROCESSORS.register_module()
class LineProcessor(LogProcessor):
    """mmengine's scalars in one line a newcomer can read: loss, rate, time left, health."""

    def _get_max_memory(self, runner: 'Runner') -> int:
        """Return the peak of the run so far in MiB; mmengine's begins anew at each line."""
        return int(torch.cuda.max_memory_allocated() / 2**20)

    def get_log_after_iter(
        self, runner: 'Runner', batch_idx: int, mode: str
    ) -> tuple[dict[str, Any], str]:
        """Return the scalars of this iteration and their line."""
        tag, _ = super().get_log_after_iter(runner, batch_idx, mode)
        if mode != 'train':
            return tag, f'{mode} {batch_idx + 1}/{self._get_dataloader_size(runner, mode)}'
        uniform = f' (uniform {tag["uniform"]:.3f})' if 'uniform' in tag else ''
        waited = tag.get('data_time', 0.0) / (tag.get('time') or math.inf)
        left = timedelta(seconds=int(runner.message_hub.get_info('eta') or 0))
        parts = [
            f'epoch {runner.epoch + 1}/{runner.max_epochs}',
            f'step {self._get_iter(runner, batch_idx)}/{len(runner.train_dataloader)}',
            f'loss {tag.get("loss", float("nan")):.3f}{uniform}',
            f'lr {tag.get("lr", 0.0):.2e}',
            f'data wait {waited:.0%}',
            f'left {left}',
            *(_show(name, value) for name, value in tag.items() if name not in PLACED),
        ]
        return tag, '  '.join(parts)

    def get_log_after_epoch(
        self, runner: 'Runner', batch_idx: int, mode: str, with_non_scalar: bool = False
    ) -> tuple[dict[str, Any], str]:
        """Return the metrics of an evaluation and their line."""
        tag, _ = super().get_log_after_epoch(runner, batch_idx, mode, with_non_scalar)
        left_out = PLACED
        if mode == 'val':  # while training one figure is enough; the others are in the scalars
            left_out = PLACED | {name for name in tag if name.startswith('knn/')} - {'knn/top1'}
        when = f'epoch {self._get_epoch(runner, mode)}' if mode == 'val' else 'result'
        shown = (
            _show(name, value) + beside_start(name, runner.step_status.start_metrics)
            for name, value in tag.items()
            if name not in left_out
        )
        return tag, f'{when}  ' + '  '.join(shown)
