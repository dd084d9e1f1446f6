"""Recipe: how a method is trained, for a loop of one's own."""

from collections.abc import Sequence
from typing import Any

from torch import nn
from torch.optim import Optimizer

from ..core import Progress, UserError
from .gradients import clip, drop_frozen, gradients, read_clip
from .group_schedule import GroupSchedule
from .param_groups import build_optimizer, group_parameters
from .shards import tensor_norms


class Recipe:
    """Optimizer, parameter groups, their schedules and clipping, as a config states them.

    ``optimizer`` are the settings of the optimizer, its rate already that of the batch, which is
    ``ratio`` times the published one; ``rules`` those of `param_effects`; ``schedules`` the
    arguments of ScheduleParam; ``clip_grad`` dict(max_norm=...), with ``each=True`` per tensor.
    ``epochs`` of ``steps_per_epoch`` iterations are the training. Raises UserError for a schedule
    that does not fit in it.
    """

    def __init__(
        self,
        optimizer: dict[str, Any],
        rules: Sequence[dict[str, Any]] = (),
        schedules: Sequence[dict[str, Any]] = (),
        clip_grad: dict[str, Any] | None = None,
        ratio: float = 1.0,
        *,
        epochs: int,
        steps_per_epoch: int,
    ) -> None:
        self.optimizer = optimizer
        self.rules = list(rules)
        self.length = epochs * steps_per_epoch, steps_per_epoch
        self.clip, self.clips_each = read_clip(clip_grad)
        self.schedules = []
        for settings in schedules:
            arguments = {k: v for k, v in settings.items() if k != 'type'}
            base = optimizer.get(arguments['param_name'], 0.0)
            schedule = GroupSchedule(base=base, ratio=ratio, **arguments)
            schedule.schedule.check(*self.length, f'param_scheduler.{schedule.param_name}')
            self.schedules.append(schedule)
        self._groups: list[dict[str, Any]] | None = None

    def write_schedules(self, groups: list[dict[str, Any]], progress: Progress) -> None:
        """Write rate and decay of ``progress`` into the groups of an optimizer.

        Raises UserError for groups that are not those of `param_groups`: the multipliers are there.
        """
        if not groups or 'lr_mult' not in groups[0]:
            raise UserError(
                'begin_step: the optimizer has groups of its own; build it over '
                'method.param_groups(), or call begin_step without it and set the rate yourself',
                key='optimizer',
                value=None,
            )
        for schedule in self.schedules:
            schedule.write([g for g in groups if schedule.param_name in g], progress)

    def param_groups(self, model: nn.Module) -> list[dict[str, Any]]:
        """Return one optimizer group for each treatment of the model's trainable parameters."""
        return group_parameters(model, self.rules, self.optimizer)

    def build_optimizer(self, model: nn.Module) -> Optimizer:
        """Build the optimizer over `param_groups`."""
        return build_optimizer(self.optimizer, self.param_groups(model))

    def clip_gradients(self, model: nn.Module, progress: Progress) -> None:
        """Clip the model's gradients; drop those of groups that are still frozen."""
        if self._groups is None:  # found once: the rules are searched in every name
            self._groups = self.param_groups(model)
        params = [p for g in self._groups for p in g['params'] if p.grad is not None]
        if self.clip and params:
            norms = tensor_norms(gradients(params)).tolist()
            clip(params, norms, each=self.clips_each, **self.clip)
        drop_frozen(self._groups, progress)
