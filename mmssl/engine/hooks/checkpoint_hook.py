"""Checkpoint hook: save training files, prune old ones, keep the best, stop on a signal."""

import re
from functools import partial
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Any

from mmengine.hooks import Hook

from ...core import UserError, dist
from ...core.errors import at_least
from ...registry import HOOKS
from .. import signals
from ..state import work_dir_files

if TYPE_CHECKING:
    from ..runner import Runner


@HOOKS.register_module()
class CheckpointHook(Hook):
    """Save every ``interval`` epochs and at the end; delete old files after the new is whole.

    ``max_keep_ckpts`` newest files stay (-1: all). ``save_best`` names a monitored metric, such
    as 'knn/top1'; its best file is best.pth. ``iterations`` saves within an epoch too, every so
    many iterations (0: never): only the newest of these stays, until an epoch's file is newer.
    No file is of the inside of an update: with gradient accumulation a save waits for its end.
    When SIGTERM or SIGUSR1 has reached any rank, all save and leave. Raises UserError for an
    interval below 1, for numbers that would keep no file, and for a metric that is no name.
    """

    priority = 'VERY_LOW'

    def __init__(
        self,
        interval: int = 1,
        max_keep_ckpts: int = 3,
        save_best: str | None = None,
        iterations: int = 0,
    ) -> None:
        self.interval = at_least('default_hooks.checkpoint.interval', interval)
        self.max_keep_ckpts = max_keep_ckpts
        if max_keep_ckpts != -1:
            at_least('default_hooks.checkpoint.max_keep_ckpts', max_keep_ckpts)
        self.iterations = at_least('default_hooks.checkpoint.iterations', iterations, 0)
        self.save_best = save_best
        if not isinstance(save_best, (str, NoneType)):
            raise UserError(
                f'default_hooks.checkpoint.save_best={save_best!r}: give the name of one metric, '
                "such as 'knn/top1'",
                key='default_hooks.checkpoint.save_best',
                value=save_best,
            )
        self.warned = False
        self.due = False  # a save within an epoch waits for the end of the update

    def before_train(self, runner: 'Runner') -> None:
        """Remove files that a killed run has written in part; say where no best will be kept."""
        if self.save_best and runner.val_loop is None:
            runner.logger.warning(
                f"checkpoint.save_best='{self.save_best}': nothing is measured in training, so no "
                'best.pth is kept'
            )
        if dist.rank() == 0:
            work_dir_files.remove_partial_files(Path(runner.work_dir))

    def after_train_iter(
        self, runner: 'Runner', batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Save at the interval; save and leave when a signal has asked for it."""
        done = runner.iter + 1
        signal_number = runner.optim_wrapper.status.signal_agreed
        if signal_number:
            signals.save_and_exit(runner, signal_number, partial(self._save, runner))
            return
        if self.iterations and done % self.iterations == 0:
            self.due = True
        if self.due and runner.optim_wrapper.starts_update:
            self._save(runner, f'iter_{done}.pth')

    def after_train_epoch(self, runner: 'Runner') -> None:
        """Save at the interval and after the last epoch."""
        epoch = runner.epoch + 1
        if epoch % self.interval == 0 or epoch == runner.max_epochs:
            self._save(runner, f'epoch_{epoch}.pth')
        elif self.due:
            self._save(runner, f'iter_{runner.iter}.pth')

    def after_train(self, runner: 'Runner') -> None:
        """Give a run that was killed between its last step and its last file that file.

        A run that was stopped early has the name of the epoch that it reached.
        """
        last = Path(runner.work_dir) / f'epoch_{runner.epoch}.pth'
        if dist.object_from_rank_zero(not last.is_file()):
            self._save(runner, last.name)

    def after_val_epoch(self, runner: 'Runner', metrics: dict[str, float] | None = None) -> None:
        """Save the best by the monitored metric."""
        if not self.save_best or runner._train_loop is None or isinstance(runner._train_loop, dict):
            return
        found = metrics or {}
        name = next(iter(found), '') if self.save_best == 'auto' else self.save_best
        value = found.get(name)
        if value is None:
            self._warn_of_metric(runner, found)
        loop = runner.train_loop
        if value is not None and (loop.best is None or value > loop.best):
            loop.best = value
            runner.save_checkpoint(runner.work_dir, 'best.pth')

    def _warn_of_metric(self, runner: 'Runner', found: dict[str, float]) -> None:
        """Say once that there is no best file, and which metrics there are."""
        if not self.warned:
            runner.logger.warning(
                f"checkpoint.save_best='{self.save_best}' is not measured, so no best.pth is kept; "
                f'available: {", ".join(found) or "nothing"}'
            )
        self.warned = True

    def _save(self, runner: 'Runner', name: str) -> None:
        folder = Path(runner.work_dir)
        runner.save_checkpoint(runner.work_dir, name)
        self.due = False
        if dist.rank() == 0:
            runner.logger.info(f'saved {folder / name}')
            done = runner.iter + runner.train_loop.in_iteration
            epoch = done // len(runner.train_dataloader)
            self._prune(folder, name, done, epoch, runner.run_identity['id'])

    def _prune(self, folder: Path, name: str, iteration: int, epoch: int, run: str) -> None:
        """Delete what the file ``name`` has made superfluous: only files of earlier moments.

        Later ones may be there, when an earlier file was resumed; this start has not written them.
        Nor are files of other runs touched.
        """
        for number, file in _numbered(folder, 'iter'):
            if file.name != name and number <= iteration and _is_of(run, file):
                file.unlink()
        if self.max_keep_ckpts >= 0:
            epochs = [file for number, file in _numbered(folder, 'epoch') if number <= epoch]
            written = [file for file in epochs if _is_of(run, file)]
            for file in written[: -self.max_keep_ckpts or None]:
                file.unlink()


def _is_of(run: str, file: Path) -> bool:
    """Whether a training file was written by the run with this id."""
    try:
        return bool(work_dir_files.run_of(file)['id'] == run)
    except UserError:  # no training file of ours, or a damaged one
        return False


def _numbered(folder: Path, start: str) -> list[tuple[int, Path]]:
    """Return (number, file) of the files ``start``_NUMBER.pth of a folder, by their numbers."""
    names = (
        (re.fullmatch(rf'{start}_(\d{{1,18}})\.pth', file.name), file) for file in folder.iterdir()
    )
    return sorted((int(match[1]), file) for match, file in names if match)
