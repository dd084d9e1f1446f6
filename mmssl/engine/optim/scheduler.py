"""Parameter scheduler: learning rate and weight decay as closed-form schedules of the groups."""

from typing import Any

from mmengine.optim import OptimWrapper
from mmengine.optim.scheduler.param_scheduler import _ParamScheduler

from ...core import Progress, Schedule
from ...optim.group_schedule import GroupSchedule
from ...registry import PARAM_SCHEDULERS


@PARAM_SCHEDULERS.register_module()
class ScheduleParam(_ParamScheduler):
    """Set ``param_name`` of every group to a `Schedule` times the group's multiplier.

    The schedule starts at the optimizer's own value (the base learning rate, already scaled);
    the other arguments are Schedule's. A group without decay stays without decay. ``scale`` are
    the arguments that follow when the learning rate is scaled with the batch, beside the base:
    ('final', 'warmup_start') for MoBY. The runner gives ``per_epoch`` (iterations), ``end``
    (epochs) and ``ratio``.
    """

    also_takes = (Schedule,)

    def __init__(
        self,
        optimizer: Any,
        param_name: str,
        per_epoch: int = 1,
        end: int = 1,
        ratio: float = 1.0,
        scale: tuple[str, ...] = (),
        last_step: int = -1,
        **schedule: Any,
    ) -> None:
        inner = optimizer.optimizer if isinstance(optimizer, OptimWrapper) else optimizer
        self.values = GroupSchedule(
            param_name, inner.defaults[param_name], ratio, scale, **schedule
        )
        self.schedule = self.values.schedule
        self.total = end * per_epoch
        self.per_epoch = per_epoch
        self.schedule.check(self.total, self.per_epoch, f'param_scheduler.{param_name}')
        super().__init__(optimizer, param_name, last_step=last_step, by_epoch=False)

    def value(self, step: int) -> float:
        """Return the schedule at iteration ``step``, before multipliers."""
        return self.schedule.value_at(step, self.total, self.per_epoch)

    def step(self) -> None:
        """Go to the next iteration and write its value into every group."""
        self.last_step += 1
        self._write()

    def seek(self, step: int) -> None:
        """Go to iteration ``step``, as on resuming."""
        self.last_step = step
        self._write()

    def _write(self) -> None:
        progress = Progress(self.last_step, self.total, self.per_epoch)
        self.values.write(self.optimizer.param_groups, progress)

    def state_dict(self) -> dict[str, Any]:
        """Nothing but the step: the schedule is the config's."""
        return dict(last_step=self.last_step)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go to the stored step."""
        self.seek(state_dict['last_step'])
