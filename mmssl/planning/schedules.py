"""The values of a config's schedules at every iteration: learning rate, decay, momentum, ..."""

from typing import Any, NamedTuple

import torch
from mmengine.optim import build_optim_wrapper
from mmengine.optim.scheduler.param_scheduler import _ParamScheduler
from mmengine.registry import DefaultScope

from ..core import UserError
from ..optim.group_schedule import MULTIPLIERS
from ..optim.param_groups import FUSED
from ..registry import PARAM_SCHEDULERS
from .standalone_step import build_on_meta

TITLES = {
    'lr': 'Learning rate',
    'weight_decay': 'Weight decay',
    'momentum': 'Momentum of the teacher',
    'teacher_temp': 'Temperature of the teacher',
    'teacher_patch_temp': 'Temperature of the teacher, patches',
}


class Line(NamedTuple):
    """One value at every iteration; ``label`` says of which group, if there are several."""

    label: str
    values: list[float]


Panels = dict[str, list[Line]]  # by name of the value


def schedules(cfg: Any, per_epoch: int) -> Panels:
    """Return the schedules of a config's parameter groups and model, without training.

    An epoch has ``per_epoch`` iterations. Learning rates are those the config writes, not scaled
    with a batch. Raises UserError for a config that trains nothing, and for schedules that do not
    fit its epochs.
    """
    epochs = (cfg.get('train_cfg') or {}).get('max_epochs')
    if not epochs or not cfg.get('optim_wrapper'):
        key = 'optim_wrapper' if epochs else 'train_cfg.max_epochs'
        raise UserError(
            f'{cfg.filename}: has no {key}, so it trains nothing; give a config that trains',
            key=key,
            value=None,
        )
    total = epochs * per_epoch
    configs = cfg.get('param_scheduler') or []
    configs = [configs] if isinstance(configs, dict) else configs
    # the meta device: parameters have names and shapes, and take no memory
    model = build_on_meta(cfg)
    with DefaultScope.overwrite_default_scope('mmssl'), torch.device('meta'):
        optimizer = _build_optimizer(cfg, model)
        built = [_build_scheduler(one, optimizer, epochs, per_epoch) for one in configs]
    panels = _group_lines(model, optimizer, built, epochs, per_epoch)
    # a classifier has parameter groups only
    for name, schedule in getattr(model, 'schedules', dict)().items():
        schedule.check(total, per_epoch, f'model.{name}')
        panels[name] = [Line('', [schedule.value_at(i, total, per_epoch) for i in range(total)])]
    return panels


def _build_optimizer(cfg: Any, model: Any) -> torch.optim.Optimizer:
    """Return the optimizer of training, with its parameter groups."""
    optimizer = dict(cfg.optim_wrapper.optimizer)
    if optimizer['type'] in FUSED:
        optimizer['fused'] = False  # fused kernels refuse the meta device
    settings = dict(cfg.optim_wrapper, optimizer=optimizer)
    settings.pop('amp', None)
    found: torch.optim.Optimizer = build_optim_wrapper(model, settings).optimizer
    return found


def _build_scheduler(
    settings: dict[str, Any], optimizer: torch.optim.Optimizer, epochs: int, per_epoch: int
) -> _ParamScheduler:
    """Return one scheduler, as the runner builds it."""
    settings = dict(settings)
    if settings['type'].endswith('ScheduleParam'):
        settings |= dict(per_epoch=per_epoch, end=epochs)
    if settings.pop('convert_to_iter_based', False):
        cls: Any = PARAM_SCHEDULERS.get(settings.pop('type'))
        length = dict(optimizer=optimizer, epoch_length=per_epoch)
        return cls.build_iter_from_epoch(**length, **settings)
    return PARAM_SCHEDULERS.build(dict(settings, optimizer=optimizer))


def _group_lines(
    model: Any, optimizer: torch.optim.Optimizer, built: list[Any], epochs: int, per_epoch: int
) -> Panels:
    """Return lines of learning rate and weight decay; groups of equal values share a line."""
    order = {name: i for i, (name, _) in enumerate(model.named_parameters())}
    groups = sorted(optimizer.param_groups, key=lambda group: order[group['names'][0]])
    values = _values_over_training(optimizer, groups, built, epochs, per_epoch)
    panels: Panels = {}
    for name in MULTIPLIERS:
        alike: dict[tuple[float, ...], list[dict[str, Any]]] = {}  # values -> groups that have them
        for series, group in zip(values[name], groups, strict=True):
            alike.setdefault(tuple(series), []).append(group)
        panels[name] = [
            Line(_label(name, members) if len(alike) > 1 else '', list(series))
            for series, members in alike.items()
        ]
    return panels


def _label(name: str, groups: list[dict[str, Any]]) -> str:
    group = groups[0]
    count = sum(len(group['names']) for group in groups)
    text = f'× {group[MULTIPLIERS[name]]:.3g}, {count} tensor{"s" * (count > 1)}'
    for unit in ('epochs', 'iters'):
        if name == 'lr' and group[f'frozen_{unit}']:
            text += f', frozen {group[f"frozen_{unit}"]} {unit}'
    return text


def _values_over_training(
    optimizer: torch.optim.Optimizer,
    groups: list[dict[str, Any]],
    built: list[_ParamScheduler],
    epochs: int,
    per_epoch: int,
) -> dict[str, list[list[float]]]:
    """Return lr and weight_decay of each group at every iteration; a frozen group's rate is 0."""
    values: dict[str, list[list[float]]] = {name: [[] for _ in groups] for name in MULTIPLIERS}
    for step in range(epochs * per_epoch):
        for name, all_series in values.items():
            for series, group in zip(all_series, groups, strict=True):
                frozen = step < max(group['frozen_epochs'] * per_epoch, group['frozen_iters'])
                series.append(0.0 if frozen and name == 'lr' else group[name])
        optimizer.step()  # schedulers expect it; there are no gradients, so it does nothing
        for scheduler in built:
            if not scheduler.by_epoch or (step + 1) % per_epoch == 0:
                scheduler.step()
    return values
