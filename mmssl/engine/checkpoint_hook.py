"""Save training state, keep the newest, remember the best."""

from pathlib import Path
from typing import Any

from mmengine.hooks import Hook

from ..core import dist
from ..registry import HOOKS


@HOOKS.register_module()
class CheckpointHook(Hook):
    """Save every ``interval`` epochs and at the end; delete old files after the new is whole.

    ``max_keep_ckpts`` newest files stay (-1: all). ``save_best`` names a monitored metric, such
    as 'knn/top1'; its best file is best.pth.
    """

    priority = 'VERY_LOW'

    def __init__(
        self, interval: int = 1, max_keep_ckpts: int = 3, save_best: str | None = None
    ) -> None:
        self.interval, self.keep, self.save_best = interval, max_keep_ckpts, save_best

    def after_train_epoch(self, runner: Any) -> None:
        """Save at the interval and after the last epoch."""
        epoch = runner.epoch + 1
        if epoch % self.interval and epoch != runner.max_epochs:
            return
        runner.save_checkpoint(runner.work_dir, f'epoch_{epoch}.pth')
        if dist.rank() == 0:
            runner.logger.info(f'saved {Path(runner.work_dir) / f"epoch_{epoch}.pth"}')
            self._prune(Path(runner.work_dir))

    def after_val_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        """Save the best by the monitored metric."""
        if not self.save_best or runner._train_loop is None or isinstance(runner._train_loop, dict):
            return
        value = (metrics or {}).get(self.save_best)
        loop = runner.train_loop
        if value is not None and (loop.best is None or value > loop.best):
            loop.best = value
            runner.save_checkpoint(runner.work_dir, 'best.pth')

    def _prune(self, folder: Path) -> None:
        if self.keep < 0:
            return
        files = sorted(folder.glob('epoch_*.pth'), key=lambda p: int(p.stem.split('_')[1]))
        for file in files[: -self.keep or None]:
            file.unlink()
