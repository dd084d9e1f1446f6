"""Hook for a SweepHead: select the layer with the highest accuracy for prediction."""

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner

from ..core import UserError
from ..core.io import unwrap_model
from ..registry import HOOKS


@HOOKS.register_module()
class SweepHook(Hook):
    """Set the layer that was best in validation as the one that predicts; files keep it.

    Raises UserError, before training, when the optimizer is not plain SGD: with any other one the
    learning rate of a layer is not proportional to its share of the loss.
    """

    def before_train(self, runner: Runner) -> None:
        """Check the optimizer. Raises UserError when it is not SGD, decays weights or clips."""
        wrapper = runner.optim_wrapper
        optimizer = wrapper.optimizer
        decay = max(group['weight_decay'] for group in optimizer.param_groups)
        rules = (
            ('optimizer.type', isinstance(optimizer, torch.optim.SGD), type(optimizer).__name__),
            ('optimizer.weight_decay', not decay, decay),
            ('clip_grad', not wrapper.clip_grad_kwargs, wrapper.clip_grad_kwargs),
        )
        for name, holds, value in rules:
            if not holds:
                raise UserError(
                    f'optim_wrapper.{name}={value}: SweepHead needs SGD without weight decay and '
                    'clip_grad; anything else mixes the learning rates of its layers',
                    key=f'optim_wrapper.{name}',
                    value=value,
                )

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Set ``best`` of the head to the number of the best layer."""
        head = unwrap_model(runner.model).head
        best = head.rates.tolist().index((metrics or {})['sweep/best_rate'])
        head.best.fill_(best)
        runner.logger.info(
            f"sweep: rate {head.rates[best]:g} (times the optimizer's) is the best of "
            f'{len(head.rates)} on the images that it is reported on'
        )
