"""Bad samples while training: said once, written down, and too many stop the run."""

from pathlib import Path
from typing import Any

from mmengine.hooks import Hook

from ..core import dist
from ..core.faults import SHARE, Faults, of_batch
from ..registry import HOOKS

FILE = 'bad_images.txt'


@HOOKS.register_module()
class BadImageHook(Hook):
    """Log every unreadable image once with its cause, and list it in ``bad_images.txt``.

    The data set has put another image in its place. Ranks compare notes every ``interval``
    iterations and at the end of an epoch; when more than ``share`` of the images are bad, all
    stop together with the list. A resumed run knows what was listed before.
    """

    priority = 'NORMAL'

    def __init__(self, share: float = SHARE, interval: int = 50) -> None:
        self.share, self.interval = share, interval
        self.faults = Faults(0, share)
        self.fresh: list[str] = []
        self.seen = 0

    def before_run(self, runner: Any) -> None:
        """Tell loops that count for themselves what share is allowed."""
        runner.bad_share = self.share

    def before_train(self, runner: Any) -> None:
        """Know the data set, and what an earlier part of the run has found."""
        loader = runner.train_dataloader
        self.faults = Faults(len(loader.dataset), self.share)
        self.path = Path(runner.work_dir) / FILE
        if runner.iter and self.path.is_file():
            before = runner.iter * loader.batch_size * dist.world_size()
            self.faults.add(self.path.read_text().splitlines(), before)
        elif dist.rank() == 0:
            self.path.unlink(missing_ok=True)

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Note this batch's faults; now and then compare."""
        found = of_batch(data_batch['data_samples'])
        self.fresh += [fault for fault in found if fault]
        self.seen += len(found)
        ends = self.end_of_epoch(runner.train_dataloader, batch_idx)
        if (runner.iter + 1) % self.interval == 0 or ends:
            self._compare(runner)

    def _compare(self, runner: Any) -> None:
        notes = dist.gather_objects((self.fresh, self.seen))
        self.fresh, self.seen = [], 0
        new = [f for faults, seen in notes for f in self.faults.add(faults, seen)]
        if new and dist.rank() == 0:
            for fault in new:
                runner.logger.warning(f'unreadable image, another took its place: {fault}')
            with self.path.open('a') as file:
                file.writelines(f'{fault}\n' for fault in new)
        self.faults.check()

    def before_val_epoch(self, runner: Any) -> None:
        """Begin to count the images of an evaluation."""
        self.asked: list[str] = []
        self.answered = 0

    def after_val_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Note what an accuracy leaves out."""
        found = of_batch(data_batch['data_samples'])
        self.asked += [fault for fault in found if fault]
        self.answered += len(found)

    def after_val_epoch(self, runner: Any, metrics: Any = None) -> None:
        """Say which images those were, and stop when they are too many."""
        notes = dist.gather_objects((self.asked, self.answered))
        faults = Faults(sum(seen for _, seen in notes), self.share)
        for fault in (f for found, seen in notes for f in faults.add(found, seen)):
            runner.logger.warning(f'unreadable image, not counted: {fault}')
        faults.check()

    before_test_epoch = before_val_epoch
    after_test_iter = after_val_iter
    after_test_epoch = after_val_epoch
