"""Every value that a config changes over training, without training."""

from typing import Any, NamedTuple

import torch
from mmengine.optim.scheduler.param_scheduler import _ParamScheduler
from mmengine.registry import DefaultScope

from ..core import UserError
from ..engine.rules import EFFECTS, treatments
from ..engine.schedule import MULTIPLIERS
from ..registry import MODELS, PARAM_SCHEDULERS

TITLES = {
    'lr': 'Learning rate',
    'weight_decay': 'Weight decay',
    'momentum': 'Momentum of the teacher',
    'teacher_temp': 'Temperature of the teacher',
    'teacher_patch_temp': 'Temperature of the teacher, patches',
}


class Line(NamedTuple):
    """One value over training, at every iteration; label says whose it is, if several are."""

    label: str
    values: list[float]


Panels = dict[str, list[Line]]  # by name of the value


def schedules(cfg: Any, per_epoch: int) -> Panels:
    """Follow the optimizer's groups and the model's curves over epochs of ``per_epoch`` steps.

    Learning rates are those the config writes, not scaled with a batch. Raises UserError for a
    config that trains nothing.
    """
    epochs = (cfg.get('train_cfg') or {}).get('max_epochs')
    if not epochs or not cfg.get('optim_wrapper'):
        raise UserError(f'{cfg.filename}: trains nothing, so it has no schedules')
    with DefaultScope.overwrite_default_scope('mmssl'), torch.device('meta'):
        model = MODELS.build(cfg.model)
    total = epochs * per_epoch
    found = _groups(cfg, model, epochs, per_epoch)
    for name, curve in getattr(model, 'curves', dict)().items():
        curve.check(total, per_epoch, f'model.{name}')
        found[name] = [Line('', [curve(i, total, per_epoch) for i in range(total)])]
    return found


def _groups(cfg: Any, model: Any, epochs: int, per_epoch: int) -> Panels:
    rules = (cfg.optim_wrapper.get('paramwise_cfg') or {}).get('rules', [])
    kinds: dict[tuple, list[str]] = {}
    for name, effects in treatments(model, rules).items():
        kinds.setdefault(tuple(effects.values()), []).append(name)
    settings = {'weight_decay': 0.0, **cfg.optim_wrapper.optimizer}
    optimizer = _optimizer(settings, [dict(zip(EFFECTS, kind, strict=True)) for kind in kinds])
    values = _follow(optimizer, _schedulers(cfg, optimizer, epochs, per_epoch), epochs, per_epoch)
    found: Panels = {}
    for name in MULTIPLIERS:
        lines: dict[tuple, list[tuple[dict, int]]] = {}  # values -> groups that have them
        for kept, group, members in zip(
            values[name], optimizer.param_groups, kinds.values(), strict=True
        ):
            lines.setdefault(tuple(kept), []).append((group, len(members)))
        found[name] = [
            Line(_label(name, groups) if len(lines) > 1 else '', list(kept))
            for kept, groups in lines.items()
        ]
    return found


def _label(name: str, groups: list[tuple[dict, int]]) -> str:
    group, count = groups[0][0], sum(count for _, count in groups)
    text = f'× {group[MULTIPLIERS[name]]:.3g}, {count} tensor{"s" * (count > 1)}'
    for unit in ('epochs', 'iters'):
        if name == 'lr' and group[f'frozen_{unit}']:
            text += f', frozen {group[f"frozen_{unit}"]} {unit}'
    return text


def _optimizer(settings: dict, kinds: list[dict]) -> torch.optim.Optimizer:
    """Return an optimizer with a group of one number for each kind of parameter."""
    groups = [
        dict(
            kind,
            params=[torch.nn.Parameter(torch.zeros(1))],
            lr=settings['lr'] * kind['lr_mult'],
            weight_decay=settings['weight_decay'] * kind['decay_mult'],
        )
        for kind in kinds
    ]
    base = {name: settings[name] for name in ('lr', 'weight_decay')}
    return torch.optim.SGD(groups, momentum=settings.get('momentum', 0.0), **base)


def _schedulers(
    cfg: Any, optimizer: torch.optim.Optimizer, epochs: int, per_epoch: int
) -> list[_ParamScheduler]:
    configs = cfg.get('param_scheduler') or []
    built = []
    for one in [configs] if isinstance(configs, dict) else configs:
        one = dict(one)
        if one['type'].endswith('CurveScheduler'):
            one |= dict(per_epoch=per_epoch, end=epochs)
        if one.pop('convert_to_iter_based', False):
            cls: Any = PARAM_SCHEDULERS.get(one.pop('type'))
            length = dict(optimizer=optimizer, epoch_length=per_epoch)
            built.append(cls.build_iter_from_epoch(**length, **one))
            continue
        built.append(PARAM_SCHEDULERS.build(dict(one, optimizer=optimizer)))
    return built


def _follow(
    optimizer: torch.optim.Optimizer, schedulers: list, epochs: int, per_epoch: int
) -> dict[str, list[list[float]]]:
    """Return lr and weight_decay of each group at every iteration; a frozen group's rate is 0."""
    values: dict[str, list[list[float]]] = {
        n: [[] for _ in optimizer.param_groups] for n in MULTIPLIERS
    }
    for step in range(epochs * per_epoch):
        for name, groups in values.items():
            for kept, group in zip(groups, optimizer.param_groups, strict=True):
                still = step < max(group['frozen_epochs'] * per_epoch, group['frozen_iters'])
                kept.append(0.0 if still and name == 'lr' else group[name])
        optimizer.step()
        for scheduler in schedulers:
            if not scheduler.by_epoch or (step + 1) % per_epoch == 0:
                scheduler.step()
    return values
