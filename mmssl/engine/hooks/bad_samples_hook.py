"""Hook that logs unreadable images once, lists them in a file, and stops when they are too many."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmengine.hooks import Hook

from ...core import dist
from ...core.bad_samples import SHARE, BadSamples, bad_samples_of
from ...core.errors import at_least
from ...registry import HOOKS

if TYPE_CHECKING:
    from ..runner import Runner

FILE = 'bad_images.txt'


@HOOKS.register_module()
class BadSamplesHook(Hook):
    """Log every unreadable image once with its cause, and list it in ``bad_images.txt``.

    The data set has put another image in its place. Ranks compare notes every ``interval``
    iterations and at the end of an epoch; when more than ``share`` of the images are bad, all
    stop together with the list. A resumed run knows what was listed before.
    """

    priority = 'NORMAL'

    def __init__(self, share: float = SHARE, interval: int = 50) -> None:
        self.share = share
        self.interval = at_least('default_hooks.bad_samples.interval', interval)
        self.bad_samples = BadSamples(0, share)
        self.fresh = BadSamples(0, share)  # of this rank, since ranks last compared

    def before_run(self, runner: 'Runner') -> None:
        """Tell loops that count for themselves what share is allowed."""
        runner.step_status.bad_samples_share = self.share

    def before_train(self, runner: 'Runner') -> None:
        """Know the data set, and what an earlier part of the run has found."""
        loader = runner.train_dataloader
        self.bad_samples = BadSamples(len(loader.dataset), self.share)
        self.path = Path(runner.work_dir) / FILE
        if runner.iter and self.path.is_file():
            before = runner.iter * loader.batch_size * dist.world_size()
            listed = self.path.read_text('utf-8', errors='backslashreplace')
            self.bad_samples.add(listed.splitlines(), before)
        elif dist.rank() == 0:
            self.path.unlink(missing_ok=True)

    def after_train_iter(
        self, runner: 'Runner', batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Note this batch's bad_samples; now and then compare."""
        found = bad_samples_of(data_batch.get('data_samples'))
        self.fresh.add(found, len(found))
        ends = self.end_of_epoch(runner.train_dataloader, batch_idx)
        if (runner.iter + 1) % self.interval == 0 or ends:
            self._compare(runner)

    def _compare(self, runner: 'Runner') -> None:
        joined = self.fresh.joined()
        self.fresh = BadSamples(0, self.share)
        new = self.bad_samples.add(joined.files.values(), joined.seen)
        if new and dist.rank() == 0:
            for report in new:
                runner.logger.warning(f'unreadable image, another took its place: {report}')
            with self.path.open('a', encoding='utf-8') as file:
                file.writelines(f'{report}\n' for report in new)
        self.bad_samples.check()

    def before_val_epoch(self, runner: 'Runner') -> None:
        """Begin to count the images of an evaluation."""
        self.evaluated = BadSamples(0, self.share)

    def after_val_iter(
        self, runner: 'Runner', batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Note what an accuracy leaves out."""
        found = bad_samples_of(data_batch.get('data_samples'))
        self.evaluated.add(found, len(found))

    def after_val_epoch(self, runner: 'Runner', metrics: Any = None) -> None:
        """Say which images those were, and stop when they are too many."""
        joined = self.evaluated.joined()
        joined.total = joined.seen
        for report in joined.files.values():
            runner.logger.warning(f'unreadable image, not counted: {report}')
        joined.check()

    before_test_epoch = before_val_epoch
    after_test_iter = after_val_iter
    after_test_epoch = after_val_epoch
