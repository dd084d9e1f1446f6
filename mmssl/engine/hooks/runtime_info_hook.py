"""Runtime information hook: losses are logged when the host has read them."""

from typing import TYPE_CHECKING, Any

from mmengine.hooks import RuntimeInfoHook as Base

from ...registry import HOOKS

if TYPE_CHECKING:
    from ..runner import Runner


@HOOKS.register_module()
class RuntimeInfoHook(Base):
    """mmengine's hook, which does not wait for the device once for every loss.

    Where the model keeps its losses, the host reads those of all micro-batches of an update
    together, before it; until then there are none to log.
    """

    def after_train_iter(
        self, runner: 'Runner', batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Log the losses of the update that ended, or the outputs of a model that keeps none."""
        if 'losses' not in runner.optim_wrapper.readings:
            super().after_train_iter(runner, batch_idx, data_batch, outputs)
            return
        for values in runner.step_status.values_read:
            for name, value in values['losses'].items():
                runner.message_hub.update_scalar(f'train/{name}', value)
