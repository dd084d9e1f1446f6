"""Constructor of the optimizer wrapper: parameter groups by the config's table of rules."""

from typing import Any

from mmengine.logging import print_log
from torch import nn

from ...core import UserError
from ...core.io import unwrap_model
from ...optim.param_groups import EFFECTS, build_optimizer, group_parameters
from ...registry import OPTIM_WRAPPER_CONSTRUCTORS, OPTIM_WRAPPERS


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class ParamGroupConstructor:
    """Build the optimizer wrapper with one group per distinct treatment.

    ``paramwise_cfg=dict(rules=[...], custom_keys={...})`` holds the table, see `param_effects`.
    Raises UserError for another key in it.
    """

    def __init__(
        self, optim_wrapper_cfg: dict[str, Any], paramwise_cfg: dict[str, Any] | None = None
    ) -> None:
        self.cfg = dict(optim_wrapper_cfg)
        settings = dict(paramwise_cfg or {})
        self.rules = list(settings.pop('rules', []))
        self.custom_keys = dict(settings.pop('custom_keys', {}))
        for key, value in settings.items():
            raise UserError(
                f"paramwise_cfg: '{key}' is not read by ParamGroupConstructor; give rules or "
                "custom_keys, or leave its name out for mmengine's own constructor",
                key=f'paramwise_cfg.{key}',
                value=value,
            )

    def __call__(self, model: nn.Module) -> Any:
        """Return the wrapper for the model's trainable parameters."""
        settings = dict(self.cfg.pop('optimizer'))
        groups = group_parameters(unwrap_model(model), self.rules, settings, self.custom_keys)
        self._print(groups)
        built = build_optimizer(settings, groups)
        return OPTIM_WRAPPERS.build({'type': 'OptimWrapper', **self.cfg, 'optimizer': built})

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
