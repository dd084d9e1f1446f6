"""Hook that shows accuracies beside those of the weights that training started from."""

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmengine.hooks import Hook

from ...core import dist
from ...core.io import atomic_write, is_number, read_json
from ...registry import HOOKS

if TYPE_CHECKING:
    from ..runner import Runner

FILE = 'start.json'
NAMES = {'knn/top1': 'kNN top-1', 'accuracy/top1': 'top-1'}


def interval(a: float, b: float, images: int) -> float:
    """Return half the 95 % interval of the difference of two accuracies, all in percent.

    Both are of ``images`` images; errors on the same images would make it smaller.
    """
    variance = sum(p / 100 * (1 - p / 100) for p in (a, b)) / max(images, 1)
    return 196 * math.sqrt(variance)


@HOOKS.register_module()
class StartHook(Hook):
    """Keep the metrics of the monitor before the first step, and compare all later ones.

    They stand in ``start.json`` of the work dir, for the lines of the log and for a resumed run.
    An accuracy that falls below the start by more than the interval of their difference is said in
    one sentence.
    """

    priority = 'LOWEST'

    def before_train(self, runner: 'Runner') -> None:
        """Take up the start of a resumed run."""
        self.path = Path(runner.work_dir) / FILE
        stored = read_json(self.path) if runner.iter and self.path.is_file() else None
        metrics = stored.get('metrics') if isinstance(stored, dict) else None
        if isinstance(metrics, dict):
            known = {key: float(value) for key, value in metrics.items() if is_number(value)}
            runner.step_status.start_metrics = known

    def after_val_epoch(self, runner: 'Runner', metrics: dict[str, float] | None = None) -> None:
        """Keep the first metrics; compare later ones with them."""
        metrics = metrics or {}
        if runner.iter == 0:
            runner.step_status.start_metrics = dict(metrics)
            if dist.rank() == 0:
                atomic_write(self.path, json.dumps(dict(metrics=metrics), indent=2) + '\n')
            return
        images = len(runner.val_dataloader.dataset)
        for name, label in NAMES.items():
            start, now = runner.step_status.start_metrics.get(name), metrics.get(name)
            if start is None or now is None:
                continue
            width = interval(start, now, images)
            if start - now > width:
                runner.logger.warning(
                    f'{label} fell from {start:.1f} % at the start to {now:.1f} %, by more than '
                    f'the interval of {width:.1f} points for {images} images: training loses what '
                    'the encoder knew; lower the rate or stop'
                )


def beside_start(name: str, start: dict[str, Any]) -> str:
    """Return the start's value of a metric for a line of the log, '' where there is none."""
    return f' (start {start[name]:.1f} %)' if name in NAMES and name in start else ''
