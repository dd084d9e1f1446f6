"""One hook that tells the model the time, for all methods."""

from typing import Any

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from torch import nn

from ..core import Clock, dist


def bare(model: nn.Module) -> Any:
    """Return the model inside a distributed wrapper."""
    return model.module if is_model_wrapper(model) else model


class ClockHook(Hook):
    """Set the clock of model and optimizer wrapper and move the teacher at its moment.

    The teacher moves before the first forward of an optimizer step, or after the update,
    as the method says; with gradient accumulation once per update. The runner registers it: it is
    in no list of hooks that a config could replace.
    """

    priority = 'VERY_HIGH'

    def before_train(self, runner: Any) -> None:
        """Refuse curves and batches that cannot work."""
        model = bare(runner.model)
        loader = runner.train_dataloader
        if hasattr(model, 'check_batch'):
            model.check_batch(loader.batch_size * dist.world_size())
        for name, curve in getattr(model, 'curves', dict)().items():
            curve.check(runner.max_iters, len(loader), f'model.{name}')

    def before_val(self, runner: Any) -> None:
        """Give all ranks the first one's buffers: measured is the network that is saved.

        Without synchronised batch norm every rank has running statistics of its own.
        """
        for buffer in bare(runner.model).buffers():
            buffer.copy_(dist.from_rank_zero(buffer))

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        """Set this iteration's clock; move a teacher that moves before the forward."""
        clock = Clock(runner.iter, runner.max_iters, len(runner.train_dataloader))
        runner.optim_wrapper.clock = clock
        model = bare(runner.model)
        model.clock = clock
        if getattr(model, 'teacher_moves', None) == 'before' and runner.optim_wrapper.first:
            model.move_teacher()

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """After an update, fill queues and centres; move a teacher that follows the student."""
        model = bare(runner.model)
        if not runner.optim_wrapper.updated or not hasattr(model, 'teacher_moves'):
            return
        model.end_step()
        if model.teacher_moves == 'after':
            model.move_teacher()
