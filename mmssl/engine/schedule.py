"""Learning rate and weight decay as curves on the optimizer's groups."""

from typing import Any

from mmengine.optim.scheduler.param_scheduler import _ParamScheduler

from ..core import Curve
from ..registry import PARAM_SCHEDULERS

MULTIPLIERS = {'lr': 'lr_mult', 'weight_decay': 'decay_mult'}


@PARAM_SCHEDULERS.register_module()
class CurveScheduler(_ParamScheduler):
    """Set ``param_name`` of every group to a `Curve` times the group's multiplier.

    The curve starts at the optimizer's own value (the base learning rate, already scaled);
    the other arguments are Curve's. A group without decay stays without decay. ``scale`` are
    the arguments that follow when the learning rate is scaled with the batch, beside the base:
    ('final', 'warmup_start') for MoBY. The runner gives ``per_epoch`` (iterations), ``end``
    (epochs) and ``ratio``.
    """

    also_takes = (Curve,)

    def __init__(
        self,
        optimizer: Any,
        param_name: str,
        per_epoch: int = 1,
        end: int = 1,
        ratio: float = 1.0,
        scale: tuple[str, ...] = (),
        last_step: int = -1,
        **curve: Any,
    ) -> None:
        inner = getattr(optimizer, 'optimizer', optimizer)
        curve = {k: v * ratio if k in scale and param_name == 'lr' else v for k, v in curve.items()}
        self.curve = Curve(inner.defaults[param_name], **curve)
        self.total, self.per_epoch = end * per_epoch, per_epoch
        self.curve.check(self.total, self.per_epoch, f'param_scheduler of {param_name}')
        super().__init__(optimizer, param_name, last_step=last_step, by_epoch=False)

    def value(self, step: int) -> float:
        """Return the curve at iteration ``step``, before multipliers."""
        return self.curve(step, self.total, self.per_epoch)

    def step(self) -> None:
        """Go to the next iteration and write its value into every group."""
        self.last_step += 1
        self._write()

    def seek(self, step: int) -> None:
        """Go to iteration ``step``, as on resuming."""
        self.last_step = step
        self._write()

    def _write(self) -> None:
        value = self.value(self.last_step)
        mult = MULTIPLIERS.get(self.param_name, '')
        for group in self.optimizer.param_groups:
            group[self.param_name] = value * group.get(mult, 1.0)

    def state_dict(self) -> dict[str, Any]:
        """Nothing but the step: the curve is the config's."""
        return dict(last_step=self.last_step)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go to the stored step."""
        self.seek(state_dict['last_step'])
