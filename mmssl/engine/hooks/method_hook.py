"""Hook that moves a method: training progress, teacher, queues and centres."""

from typing import TYPE_CHECKING, Any

from mmengine.hooks import Hook

from ...core import Progress, UserError, dist
from ...core.io import unwrap_model
from ...core.protocols import BoundedMemory, Method

if TYPE_CHECKING:
    from ..runner import Runner


class MethodHook(Hook):
    """Set the progress of model and optimizer wrapper and move the teacher at its moment.

    The teacher moves before the first forward of an optimizer step, or after the update,
    as the method says; with gradient accumulation once per update. The runner registers it: it is
    in no list of hooks that a config could replace.
    """

    priority = 'VERY_HIGH'

    def before_train(self, runner: 'Runner') -> None:
        """Refuse batches and schedules that cannot work. Raises UserError."""
        self._check_accumulation(runner)
        model = unwrap_model(runner.model)
        if not isinstance(model, Method):
            return
        loader = runner.train_dataloader
        model.check_batch(loader.batch_size * dist.world_size())
        _check_last_batch(model, loader)
        images = len(loader) * loader.batch_size * dist.world_size()
        for name, memory in unwrap_model(runner.model).named_modules():
            if isinstance(memory, BoundedMemory) and memory.length > images:
                runner.logger.warning(
                    f'model.{name}: a queue of {memory.length} is longer than an epoch of {images} '
                    'images, so that it holds every image, the one that is learned from included: '
                    'lower queue_length'
                )
        for name, schedule in model.schedules().items():
            schedule.check(runner.max_iters, len(loader), f'model.{name}')

    @staticmethod
    def _check_accumulation(runner: 'Runner') -> None:
        """Refuse an epoch without an update, and say what each epoch leaves."""
        batches, counts = len(runner.train_dataloader), runner.optim_wrapper._accumulative_counts
        if batches < counts:
            raise UserError(
                f'optim_wrapper.accumulative_counts={counts}: an epoch has {batches} batches, too '
                'few for one update; lower it, or train_dataloader.batch_size',
                key='optim_wrapper.accumulative_counts',
                value=counts,
            )
        if left := batches % counts:
            runner.logger.info(
                f'{counts} batches make an update: the last {left} of the {batches} of an epoch '
                'change no weights'
            )

    def before_val(self, runner: 'Runner') -> None:
        """Give all ranks the first one's buffers: measured is the network that is saved.

        Without synchronised batch norm every rank has running statistics of its own.
        """
        for buffer in unwrap_model(runner.model).buffers():
            buffer.copy_(dist.from_rank_zero(buffer))

    def before_train_iter(self, runner: 'Runner', batch_idx: int, data_batch: Any = None) -> None:
        """Set this iteration's progress; move a teacher that moves before the forward."""
        length = runner.max_iters, len(runner.train_dataloader)
        runner.optim_wrapper.progress = Progress(runner.iter, *length)
        starts_update = runner.optim_wrapper.starts_update
        if starts_update:
            runner.optim_wrapper.hold_settings()
        model = unwrap_model(runner.model)
        if isinstance(model, Method):
            model.begin_step(runner.iter, starts_update=starts_update, length=length)

    def after_train_iter(
        self, runner: 'Runner', batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """After an update, fill queues and centres; move a teacher that follows the student."""
        model = unwrap_model(runner.model)
        if isinstance(model, Method) and runner.optim_wrapper.status.updated:
            model.end_step()

    def after_train_epoch(self, runner: 'Runner') -> None:
        """Drop an update that the epoch's end leaves incomplete; centres keep what they saw."""
        model = unwrap_model(runner.model)
        if runner.optim_wrapper.drop_incomplete() and isinstance(model, Method):
            model.drop_incomplete()


def _check_last_batch(model: Method, loader: Any) -> None:
    """Check that a method takes what is left at the end of an epoch.

    Raises UserError when it cannot.
    """
    left = len(loader.sampler) % loader.batch_size
    if loader.drop_last or not left:
        return
    try:
        model.check_batch(left * dist.world_size())
    except UserError as error:
        raise UserError(
            f'the last batch of an epoch has {left} of {loader.batch_size} images on each process: '
            f'{error}, or set train_dataloader.drop_last=True',
            key='train_dataloader.drop_last',
            value=False,
        ) from None
