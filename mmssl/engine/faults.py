"""What goes wrong while training, decided by all ranks and said in one sentence."""

import errno
import json
import math
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from mmengine.hooks import Hook
from torch import Tensor

from ..core import UserError, dist, watch
from ..registry import HOOKS
from .clock import bare

POLICIES = ('stop', 'skip')
BATCH_NORM = ('running_mean', 'running_var')


class NonFinite(UserError):
    """A loss or gradient that is no number."""


@HOOKS.register_module()
class FaultHook(Hook):
    """Pass over an update with a loss or gradient that is not finite on any rank, or stop.

    All ranks do the same in the same iteration, and the first writes ``fault_iter_N.json`` into
    the work dir: per rank losses, files and parameters. 'stop' saves the state without the
    update and ends the run; 'skip' goes on, at most ``patience`` times in a row. The statistics
    of batch norms are put back, queues and centres forget the batch.
    """

    priority = 'LOW'

    def __init__(self, non_finite: str = 'stop', patience: int = 10) -> None:
        if non_finite not in POLICIES:
            raise UserError(
                f"FaultHook.non_finite='{non_finite}' is unknown; use {' or '.join(POLICIES)}"
            )
        self.policy, self.patience, self.row = non_finite, patience, 0

    def before_train(self, runner: Any) -> None:
        """Make room for the statistics."""
        buffers = bare(runner.model).named_buffers()
        self.live = [b for n, b in buffers if n.endswith(BATCH_NORM)]
        self.kept: list[Tensor] = [b.clone() for b in self.live]

    @torch.no_grad()
    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        """Keep the statistics as they are before the first batch of an update."""
        if self.live and runner.optim_wrapper.first:
            torch._foreach_copy_(self.kept, self.live)

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Report a fault that the ranks have agreed on, and skip or stop."""
        if not runner.optim_wrapper.faulty:
            if runner.optim_wrapper.updated:
                self.row = 0
            return
        runner.optim_wrapper.faulty = False
        self.row += 1
        self._undo(runner)
        told = self._report(runner, data_batch, outputs or {})
        if self.policy == 'skip' and self.row <= self.patience:
            runner.logger.warning(f'{told}; the update is passed over')
            return
        name = f'iter_{runner.iter + 1}.pth'
        runner.save_checkpoint(runner.work_dir, name)
        again = f' {self.row} times in a row' if self.row > 1 else ''
        raise NonFinite(
            f'{told}{again}. The state before it is in {Path(runner.work_dir) / name}: lower the '
            'learning rate, clip gradients or leave out --amp, and continue with --resume; '
            'default_hooks.faults.non_finite=skip passes over such batches'
        )

    @torch.no_grad()
    def _undo(self, runner: Any) -> None:
        if self.live:
            torch._foreach_copy_(self.live, self.kept)
        if hasattr(bare(runner.model), 'drop_step'):
            bare(runner.model).drop_step()

    def _report(self, runner: Any, data_batch: Any, outputs: dict[str, Any]) -> str:
        """Write the dump; return the sentence."""
        step = runner.iter + 1
        names = {id(p): n for n, p in bare(runner.model).named_parameters()}
        losses = {k: float(torch.as_tensor(v).detach()) for k, v in outputs.items()}
        mine = dict(
            rank=dist.rank(),
            host=socket.gethostname(),
            losses=losses,
            parameters=[names[id(p)] for p in runner.optim_wrapper.faults],
            files=files_of(runner.train_dataloader.dataset, data_batch),
        )
        ranks = dist.gather_objects(mine)
        path = Path(runner.work_dir) / f'fault_iter_{step}.json'
        if dist.rank() == 0:
            rates = runner.optim_wrapper.get_lr()
            content = dict(iteration=step, epoch=runner.epoch + 1, lr=rates, ranks=ranks)
            path.write_text(json.dumps(content, indent=2) + '\n')
        wrong = [r for r in ranks if not all(map(math.isfinite, r['losses'].values()))]
        what = ', '.join(f'the loss of rank {r["rank"]} is {r["losses"]["loss"]}' for r in wrong)
        return f'iteration {step}: {what or "a gradient is not finite"} (files in {path})'


def files_of(dataset: Any, data_batch: Any) -> list[Any]:
    """Return the names of a batch's images, or their indices where the data set has no names."""
    samples = data_batch.get('data_samples') if isinstance(data_batch, dict) else None
    index = samples.get('index') if isinstance(samples, dict) else None
    found = [int(i) for i in index] if index is not None else []
    return [dataset.name(i) for i in found] if hasattr(dataset, 'name') else found


# errors that a user can do something about --------------------------------------------------
DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO}
# how gloo and NCCL say that another process is gone
LOST = ('Connection closed', 'Connection reset', 'Broken pipe', 'Timed out', 'NCCL', 'gloo')
MEMORY = ('out of memory', "can't allocate memory")


@contextmanager
def explained(runner: Any = None) -> Iterator[None]:
    """Turn errors of machine and neighbours into a UserError with advice; others pass."""
    try:
        yield
    except UserError:
        raise
    except (RuntimeError, MemoryError, OSError) as error:
        told = explain(error, runner)
        if told is None:
            raise
        raise UserError(told) from None


def explain(error: Exception, runner: Any = None) -> str | None:
    """Return what to tell the user, or None for an error of the program."""
    text = ' '.join(str(error).split())
    first = text[:300]
    at = f'rank {dist.rank()}, step {watch.here.step}: ' if dist.world_size() > 1 else ''
    if isinstance(error, OSError):
        if error.errno not in DISK:
            return None
        return (
            f'{at}{error.filename or "the work dir"}: {os.strerror(error.errno or 0)}; earlier '
            'checkpoints are untouched. Free some space or pass a writable --work-dir, then '
            'continue with --resume'
        )
    if isinstance(error, MemoryError) or any(mark in text for mark in MEMORY):
        batch = getattr(getattr(runner, 'train_dataloader', None), 'batch_size', None)
        now = f' (now {batch})' if batch else ''
        return (
            f'{at}out of memory: lower train_dataloader.batch_size{now} and raise '
            'optim_wrapper.accumulative_counts to keep their product, or use --amp; then continue '
            f'with --resume ({first})'
        )
    if dist.world_size() > 1 and any(mark in text for mark in LOST):
        return (
            f"{at}lost the other processes in '{watch.here.what}': {watch.suspects()}. Its own "
            f'message tells why; continue with --resume ({first})'
        )
    return None
