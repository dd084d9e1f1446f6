"""AverageHook: an average of the weights in training files, as DeiT's code keeps one."""

from typing import Any

from mmengine.hooks import EMAHook

from ...registry import HOOKS


@HOOKS.register_module()
class AverageHook(EMAHook):
    """Average the weights beside training; evaluated and saved as the network are the trained ones.

    DeiT (``main.py``) measures the network that it trains and stores the average beside it, here
    ``ema_state_dict``. mmengine's EMAHook, whose arguments this takes, measures the average and
    saves it as the network. An average of few steps is still close to the weights of the start.
    """

    def _swap_ema_parameters(self) -> None:
        """Leave the trained weights in the network for validations and tests."""

    def _swap_ema_state_dict(self, checkpoint: dict[str, Any]) -> None:
        """Leave the trained weights in the file's ``state_dict``."""
