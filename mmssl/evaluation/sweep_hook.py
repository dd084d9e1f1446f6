"""Hook for a SweepHead: let the layer with the highest accuracy answer."""

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner

from ..core import UserError
from ..core.io import unwrap_model
from ..registry import HOOKS


@HOOKS.register_module()
class SweepHook(Hook):
    """Let the layer that the monitor found best answer, in files as well.

    Raises UserError before training with an optimizer under which a layer's share of the loss is
    not its learning rate.
    """

    def before_train(self, runner: Runner) -> None:
        """Refuse whatever is not plain SGD. Raises UserError."""
        wrapper = runner.optim_wrapper
        decays = any(group['weight_decay'] for group in wrapper.optimizer.param_groups)
        if not isinstance(wrapper.optimizer, torch.optim.SGD) or decays or wrapper.clip_grad_kwargs:
            raise UserError(
                'SweepHead trains with SGD without weight decay and without clip_grad: anything '
                'else mixes the learning rates of its layers'
            )

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Write the number of the best layer into the head."""
        head = unwrap_model(runner.model).head
        best = head.rates.tolist().index((metrics or {})['sweep/best_rate'])
        head.best.fill_(best)
        runner.logger.info(
            f"sweep: rate {head.rates[best]:g} (times the optimizer's) is the best of "
            f'{len(head.rates)} on the images that it is reported on'
        )
