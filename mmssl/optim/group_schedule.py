"""Learning rate and weight decay of parameter groups as closed formulas of the step."""

from typing import Any

from ..core import Progress, Schedule

MULTIPLIERS = {'lr': 'lr_mult', 'weight_decay': 'decay_mult'}


class GroupSchedule:
    """A `Schedule` of ``param_name`` times each group's multiplier.

    It starts at ``base``, the optimizer's own value, already scaled by ``ratio``; ``schedule``
    holds Schedule's other arguments. ``scale`` are those of them that follow when the learning
    rate is scaled with the batch: ('final', 'warmup_start') for MoBY. A group without decay stays
    without decay.
    """

    def __init__(
        self,
        param_name: str,
        base: float,
        ratio: float = 1.0,
        scale: tuple[str, ...] = (),
        **schedule: Any,
    ) -> None:
        self.param_name = param_name
        follow = scale if param_name == 'lr' else ()
        self.schedule = Schedule(
            base, **{k: v * ratio if k in follow else v for k, v in schedule.items()}
        )

    def write(self, groups: list[dict[str, Any]], progress: Progress) -> None:
        """Write the value at ``progress`` into every group."""
        value = self.schedule.value_at(*progress)
        mult = MULTIPLIERS.get(self.param_name, '')
        for group in groups:
            group[self.param_name] = value * group.get(mult, 1.0)
