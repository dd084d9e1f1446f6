"""Constructor of the optimizer wrapper: parameter groups by the config's table of rules."""

from typing import Any

from mmengine.logging import print_log
from torch import nn

from ...core.io import unwrap_model
from ...optim.param_groups import EFFECTS, build_optimizer, group_parameters
from ...registry import OPTIM_WRAPPER_CONSTRUCTORS, OPTIM_WRAPPERS


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class ParamGroupConstructor:
    """Build the optimizer wrapper with one group per distinct treatment.

    ``paramwise_cfg=dict(rules=[...])`` holds the table, see `param_effects`.
    """

    def __init__(
        self, optim_wrapper_cfg: dict[str, Any], paramwise_cfg: dict[str, Any] | None = None
    ) -> None:
        self.cfg = dict(optim_wrapper_cfg)
        self.rules = list((paramwise_cfg or {}).get('rules', []))

    def __call__(self, model: nn.Module) -> Any:
        """Return the wrapper for the model's trainable parameters."""
        settings = dict(self.cfg.pop('optimizer'))
        groups = group_parameters(unwrap_model(model), self.rules, settings)
        self._print(groups)
        return OPTIM_WRAPPERS.build(dict(self.cfg, optimizer=build_optimizer(settings, groups)))

    @staticmethod
    def _print(groups: list[dict[str, Any]]) -> None:
        for i, group in enumerate(groups):
            count = sum(p.numel() for p in group['params'])
            effects = ', '.join(f'{k} {group[k]:g}' for k, v in EFFECTS.items() if group[k] != v)
            print_log(
                f'optimizer group {i}: {len(group["params"])} tensors, {count:,} values'
                + (f' ({effects})' if effects else ''),
                logger='current',
            )
