"""Hook that skips updates whose loss or gradient is not finite, or stops the run."""

import json
import math
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from mmengine.hooks import Hook
from torch import Tensor

from ...core import UserError, dist
from ...core.host_values import as_number
from ...core.io import atomic_write, unwrap_model
from ...core.protocols import Method, NamedImages
from ...registry import HOOKS

if TYPE_CHECKING:
    from ..runner import Runner

ACTIONS = ('stop', 'skip')
BATCH_NORM = ('running_mean', 'running_var')


class NonFinite(UserError):
    """A loss or gradient that is no number."""


@HOOKS.register_module()
class NonFiniteHook(Hook):
    """Skip an update with a loss or gradient that is not finite on any rank, or stop the run.

    All ranks do the same in the same iteration, and the first writes
    ``non_finite_iter_N.json`` into the work dir: per rank losses, files and parameters.
    ``action='stop'`` saves the state without the update and ends the run; 'skip' goes on, at most
    ``patience`` times in a row. The statistics of batch norms are restored, queues and centres
    drop the batch. Raises UserError for another action.
    """

    priority = 'LOW'

    def __init__(self, action: str = 'stop', patience: int = 10) -> None:
        if action not in ACTIONS:
            raise UserError(
                f"NonFiniteHook.action='{action}' is unknown; use {' or '.join(ACTIONS)}",
                key='NonFiniteHook.action',
                value=action,
            )
        self.action = action
        self.patience = patience
        self.in_a_row = 0

    def before_train(self, runner: 'Runner') -> None:
        """Reserve memory for the statistics of batch norms."""
        buffers = unwrap_model(runner.model).named_buffers()
        self.live = [b for n, b in buffers if n.endswith(BATCH_NORM)]
        self.kept: list[Tensor] = [b.clone() for b in self.live]

    @torch.no_grad()
    def before_train_iter(self, runner: 'Runner', batch_idx: int, data_batch: Any = None) -> None:
        """Keep the statistics as they are before the first batch of an update."""
        if self.live and runner.optim_wrapper.starts_update:
            torch._foreach_copy_(self.kept, self.live)

    def after_train_iter(
        self, runner: 'Runner', batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Report an update that the ranks have agreed to drop, and skip it or stop."""
        status = runner.optim_wrapper.status
        if not status.non_finite:
            if status.updated:
                self.in_a_row = 0
            return
        self.in_a_row += 1
        self._undo(runner)
        told = self._report(runner, data_batch, outputs or {})
        if self.action == 'skip' and self.in_a_row <= self.patience:
            runner.logger.warning(f'{told}; the update is skipped')
            return
        name = f'iter_{runner.iter + 1}.pth'
        runner.save_checkpoint(runner.work_dir, name)
        again = f' {self.in_a_row} times in a row' if self.in_a_row > 1 else ''
        raise NonFinite(
            f'{told}{again}. The state before it is in {Path(runner.work_dir) / name}: lower the '
            'learning rate, clip gradients or leave out --amp, and continue with --resume; '
            'default_hooks.non_finite.action=skip skips such batches',
            key='loss',
            value=runner.iter + 1,
        )

    @torch.no_grad()
    def _undo(self, runner: 'Runner') -> None:
        if self.live:
            torch._foreach_copy_(self.live, self.kept)
        model = unwrap_model(runner.model)
        if isinstance(model, Method):
            model.drop_step()

    def _report(self, runner: 'Runner', data_batch: Any, outputs: dict[str, Any]) -> str:
        """Write the dump; return the sentence."""
        step = runner.iter + 1
        names = {id(p): n for n, p in unwrap_model(runner.model).named_parameters()}
        losses = {k: as_number(v) for k, v in outputs.items()}
        mine = dict(
            rank=dist.rank(),
            host=socket.gethostname(),
            losses=losses,
            parameters=[names[id(p)] for p in runner.optim_wrapper.status.non_finite_parameters],
            files=files_of(runner.train_dataloader.dataset, data_batch),
        )
        ranks = dist.gather_objects(mine)
        path = Path(runner.work_dir) / f'non_finite_iter_{step}.json'
        if dist.rank() == 0:
            rates = runner.optim_wrapper.get_lr()
            content = dict(iteration=step, epoch=runner.epoch + 1, lr=rates, ranks=ranks)
            atomic_write(path, json.dumps(content, indent=2) + '\n')
        wrong = [r for r in ranks if not all(map(math.isfinite, r['losses'].values()))]
        what = ', '.join(f'the loss of rank {r["rank"]} is {r["losses"]["loss"]}' for r in wrong)
        return f'iteration {step}: {what or "a gradient is not finite"} (files in {path})'


def files_of(dataset: Any, data_batch: Any) -> list[Any]:
    """Return the names of a batch's images, or their indices where the data set has no names."""
    samples = data_batch.get('data_samples') if isinstance(data_batch, dict) else None
    index = samples.get('index') if isinstance(samples, dict) else None
    found = [int(i) for i in index] if index is not None else []
    return [dataset.name(i) for i in found] if isinstance(dataset, NamedImages) else found
