"""An ordered table that says how each parameter is treated."""

import re
from typing import Any

from mmengine.logging import print_log
from torch import nn

from ..core import UserError
from ..core.errors import closest
from ..registry import OPTIM_WRAPPER_CONSTRUCTORS, OPTIM_WRAPPERS, OPTIMIZERS

EFFECTS = dict(lr_mult=1.0, decay_mult=1.0, adapt=True, frozen_epochs=0, frozen_iters=0)
SELECTORS = ('match', 'ndim')
# one pass over memory instead of ten. SGD's refuses groups of which a part has had no gradient yet
FUSED = ('Adam', 'AdamW')


def treatments(model: nn.Module, rules: list[dict]) -> dict[str, dict[str, Any]]:
    """Return name -> effects of every trainable parameter; later rules refine earlier ones.

    A rule selects by ``match`` (regular expression searched in the name) and/or ``ndim`` and
    sets some of `EFFECTS`. Raises UserError for an unknown key and for a rule that selects
    nothing.
    """
    table = {n: dict(EFFECTS) for n, p in model.named_parameters() if p.requires_grad}
    shapes = {n: p.ndim for n, p in model.named_parameters()}
    for rule in rules:
        known = (*EFFECTS, *SELECTORS)
        for key in rule:
            if key not in known:
                raise UserError(f"parameter rule {rule}: unknown key '{key}'{closest(key, known)}")
        chosen = [
            name
            for name in table
            if re.search(rule.get('match', ''), name)
            and rule.get('ndim', shapes[name]) == shapes[name]
        ]
        if not chosen:
            raise UserError(f'parameter rule {rule} matches no trainable parameter; correct it')
        for name in chosen:
            table[name].update({k: v for k, v in rule.items() if k in EFFECTS})
    return table


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class RuleConstructor:
    """Build the optimizer wrapper with one group per distinct treatment.

    ``paramwise_cfg=dict(rules=[...])`` holds the table, see `treatments`.
    """

    def __init__(self, optim_wrapper_cfg: dict, paramwise_cfg: dict | None = None) -> None:
        self.cfg = dict(optim_wrapper_cfg)
        self.rules = list((paramwise_cfg or {}).get('rules', []))

    def __call__(self, model: nn.Module) -> Any:
        """Return the wrapper for the model's trainable parameters."""
        inner = getattr(model, 'module', model)
        optimizer = dict(self.cfg.pop('optimizer'))
        parameters = dict(inner.named_parameters())
        groups: dict[tuple, dict[str, Any]] = {}
        for name, effects in treatments(inner, self.rules).items():
            group = groups.setdefault(tuple(effects.values()), dict(effects, params=[], names=[]))
            group['params'].append(parameters[name])
            group['names'].append(name)
        for group in groups.values():
            group['lr'] = optimizer['lr'] * group['lr_mult']
            group['weight_decay'] = optimizer.get('weight_decay', 0.0) * group['decay_mult']
        self._print(list(groups.values()))
        if optimizer['type'] in FUSED and 'foreach' not in optimizer:
            optimizer.setdefault('fused', True)
        built = OPTIMIZERS.build(dict(optimizer, params=list(groups.values())))
        return OPTIM_WRAPPERS.build(dict(self.cfg, optimizer=built))

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
