"""A hook that breaks a run on purpose, and one that writes what a broken run is compared by."""

import os
import signal
import time
from pathlib import Path
from typing import Any

import torch
from mmengine.hooks import Hook

from mmssl.core import dist
from mmssl.registry import HOOKS

SIGNALS = dict(stop=signal.SIGSTOP, kill=signal.SIGKILL, term=signal.SIGTERM)


@HOOKS.register_module()
class Breaker(Hook):
    """At iteration ``step`` of rank ``rank`` do ``kind``.

    'nan': the images are no numbers; 'hang': sleep for ever; 'stop', 'kill', 'term': that signal
    to this process.
    """

    def __init__(self, kind: str, step: int, rank: int = 0) -> None:
        self.kind = kind
        self.step = step
        self.rank = rank

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        """Break."""
        if runner.iter + 1 != self.step or dist.rank() != self.rank:
            return
        if self.kind == 'nan':
            view = data_batch['inputs'][0]
            data_batch['inputs'][0] = torch.full_like(view, float('nan'), dtype=torch.float32)
        elif self.kind == 'hang':
            time.sleep(1e6)
        else:
            os.kill(os.getpid(), SIGNALS[self.kind])


@HOOKS.register_module()
class Stream(Hook):
    """Append 'iteration loss' to a file, the loss in hexadecimal: equal lines are equal bits."""

    priority = 'VERY_HIGH'

    def __init__(self, path: Path) -> None:
        self.path = path

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Write one line at once, so that a kill cannot tear it."""
        loss = float(outputs['loss'].detach())
        with open(f'{self.path}.{dist.rank()}', 'a') as file:
            file.write(f'{runner.iter + 1} {loss.hex()}\n')


def stream(path: Path) -> list[tuple[int, str]]:
    """Read what `Stream` wrote on the first rank."""
    file = Path(f'{path}.0')
    lines = file.read_text().splitlines() if file.is_file() else []
    return [(int(at), loss) for at, loss in (line.split() for line in lines)]
