"""Parameter groups: an ordered table of rules for learning rate, decay and freezing."""

import re
from typing import Any

from torch import nn
from torch.optim import Optimizer

from ..core import UserError
from ..core.errors import closest
from ..core.protocols import LayeredNetwork
from ..registry import OPTIMIZERS

EFFECTS = dict(lr_mult=1.0, decay_mult=1.0, adapt=True, frozen_epochs=0, frozen_iters=0)
SELECTORS = ('match', 'ndim')
# one pass over memory instead of ten. SGD's refuses groups of which a part has had no gradient yet
FUSED = ('Adam', 'AdamW')


def layers_above(model: nn.Module) -> dict[str, int]:
    """Return name -> number of layers above each parameter, 0 for all outside the network.

    The model's one `LayeredNetwork` that trains decides, by its ``layer_groups()``, [stem, layer
    1, ...].
    Raises UserError when there is not exactly one.
    """
    networks = [
        module
        for module in model.modules()
        if isinstance(module, LayeredNetwork) and any(p.requires_grad for p in module.parameters())
    ]
    if len(networks) != 1:
        advice = (
            "take a backbone of ours, such as type='mmssl.VisionTransformer': networks of other "
            'libraries do not tell their layers'
            if not networks
            else 'it is for fine-tuning one'
        )
        raise UserError(
            f'layer_decay needs a model with one network of mmssl, this one has {len(networks)}; '
            f'{advice}',
            key='layer_decay',
            value=len(networks),
        )
    layers, above = networks[0].layer_groups(), {}
    for depth, parts in enumerate(layers):
        for part in parts:
            for parameter in [part] if isinstance(part, nn.Parameter) else part.parameters():
                above[parameter] = len(layers) - depth
    return {name: above.get(parameter, 0) for name, parameter in model.named_parameters()}


def param_effects(
    model: nn.Module,
    rules: list[dict[str, Any]],
    custom_keys: dict[str, dict[str, Any]] | None = None,
) -> dict[str, dict[str, Any]]:
    """Return name -> effects of every trainable parameter; later rules refine earlier ones.

    A rule selects by ``match`` (regular expression searched in the name) and/or ``ndim`` and
    sets some of `EFFECTS`. ``layer_decay`` makes ``lr_mult`` that number to the power of the
    layers above the parameter: 1 for head and last norm, d for the last block, d^2 for the one
    before it (BEiT; MAE ``lr_decay.py``). ``custom_keys`` are mmengine's, which the rules refine:
    the longest key that is a part of the name. Raises UserError for an unknown key, for a rule
    that selects nothing, and for rates that grow over some of the blocks and leave others out.
    """
    table = {n: dict(EFFECTS) for n, p in model.named_parameters() if p.requires_grad}
    rated = _apply_custom_keys(table, custom_keys or {})
    shapes = {n: p.ndim for n, p in model.named_parameters()}
    for rule in rules:
        _check(rule)
        chosen = [
            name
            for name in table
            if re.search(rule.get('match', ''), name)
            and rule.get('ndim', shapes[name]) == shapes[name]
        ]
        if not chosen:
            raise UserError(
                f'parameter rule {rule} matches no trainable parameter; correct it',
                key='paramwise_cfg.rules',
                value=rule,
            )
        for name in chosen:
            table[name].update({k: v for k, v in rule.items() if k in EFFECTS})
        if 'layer_decay' in rule:
            above = layers_above(model)
            for name in chosen:
                table[name]['lr_mult'] = rule['layer_decay'] ** above[name]
        if {'layer_decay', 'lr_mult'} & set(rule):
            rated.update(chosen)
    _check_all_blocks(table, rated)
    return table


def _apply_custom_keys(
    table: dict[str, dict[str, Any]], custom_keys: dict[str, dict[str, Any]]
) -> set[str]:
    """Apply mmengine's ``custom_keys``; return the names that got a rate by them."""
    for key, effects in custom_keys.items():
        for effect in effects:
            if effect not in EFFECTS:
                raise UserError(
                    f"paramwise_cfg.custom_keys['{key}']: unknown key "
                    f"'{effect}'{closest(effect, EFFECTS)}",
                    key=effect,
                    value=effects[effect],
                )
    rated = set()
    for name, effects in table.items():
        # the first of the longest, in the order of the alphabet
        found = max((key for key in sorted(custom_keys) if key in name), key=len, default=None)
        if found is not None:
            effects.update(custom_keys[found])
            if 'lr_mult' in custom_keys[found]:
                rated.add(name)
    return rated


def _check_all_blocks(table: dict[str, dict[str, Any]], rated: set[str]) -> None:
    """Refuse rates that differ from block to block and leave out blocks of the same series."""
    rates: dict[str, dict[int, set[float]]] = {}
    for name, effects in table.items():
        for number in re.finditer(r'(?<=\.)\d+(?=\.)', name):
            blocks = rates.setdefault(name[: number.start()], {})
            found = blocks.setdefault(int(number[0]), set())
            if name in rated:
                found.add(effects['lr_mult'])
    for series, blocks in rates.items():
        given = [found for found in blocks.values() if found]
        lost = [number for number, found in sorted(blocks.items()) if not found]
        if lost and any(found != given[0] for found in given):
            raise UserError(
                f'paramwise_cfg.rules: they grade the learning rate over {series}N, and leave '
                f'{", ".join(map(str, lost))} of {len(blocks)} at the full rate; use layer_decay, '
                'or give these a rate too',
                key='paramwise_cfg.rules',
                value=lost,
            )


def _check(rule: dict[str, Any]) -> None:
    known = (*EFFECTS, *SELECTORS, 'layer_decay')
    for key in rule:
        if key not in known:
            raise UserError(
                f"parameter rule {rule}: unknown key '{key}'{closest(key, known)}",
                key=key,
                value=rule[key],
            )
    decay = rule.get('layer_decay', 1.0)
    if not isinstance(decay, (int, float)) or not 0 < decay <= 1:
        raise UserError(
            f'parameter rule {rule}: give layer_decay a number above 0, at most 1',
            key='layer_decay',
            value=decay,
        )
    if {'layer_decay', 'lr_mult'} <= set(rule):
        raise UserError(
            f'parameter rule {rule}: layer_decay makes lr_mult; take two rules',
            key='lr_mult',
            value=rule['lr_mult'],
        )


def group_parameters(
    model: nn.Module,
    rules: list[dict[str, Any]],
    settings: dict[str, Any],
    custom_keys: dict[str, dict[str, Any]] | None = None,
) -> list[dict[str, Any]]:
    """Return one optimizer group for each treatment of parameters, with its `EFFECTS`.

    ``settings`` are the optimizer's; ``lr`` and ``weight_decay`` of a group are theirs times its
    multipliers. The group of the stated rate is the first, as logs show that one. Raises UserError
    as `param_effects` does.
    """
    parameters = dict(model.named_parameters())
    groups: dict[tuple[Any, ...], dict[str, Any]] = {}
    for name, effects in param_effects(model, rules, custom_keys).items():
        group = groups.setdefault(tuple(effects.values()), dict(effects, params=[], names=[]))
        group['params'].append(parameters[name])
        group['names'].append(name)
    ordered = sorted(groups.values(), key=lambda group: group['lr_mult'] != 1)
    for group in ordered:
        group['lr'] = settings['lr'] * group['lr_mult']
        group['weight_decay'] = settings.get('weight_decay', 0.0) * group['decay_mult']
    return ordered


def build_optimizer(settings: dict[str, Any], groups: list[dict[str, Any]]) -> Optimizer:
    """Build the optimizer of a config's ``settings`` over ``groups``, fused where that serves."""
    if settings['type'] in FUSED and 'foreach' not in settings:
        settings = {'fused': True, **settings}
    built: Optimizer = OPTIMIZERS.build(dict(settings, params=groups))
    return built
