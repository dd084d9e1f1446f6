"""Going on from an encoder: ``pretrained`` of a method, frozen epochs, the preset `continue`."""

import copy
from typing import Any, NamedTuple

import torch
from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.registry import DefaultScope

from .. import registry
from ..core import UserError
from ..core.errors import at_least
from .pretrained import encoder_settings, network_of
from .scaling import fit_views, shorten

KEYS = ('pretrained', 'preset', 'freeze_backbone')  # of the top level of a config
# arguments of a backbone that belong to training, not to its network
OF_TRAINING = (
    *('drop_path_rate', 'with_cp', 'frozen_stages', 'norm_eval', 'freeze_patch_embed'),
    'mask_token',
)


class Preset(NamedTuple):
    """How a training that goes on from weights differs from one from nothing.

    At most ``epochs``, ``rate`` times the learning rate, ``layer_decay`` for each layer further
    below.
    """

    epochs: int
    rate: float
    layer_decay: float


PRESETS: dict[str, Preset] = {'continue': Preset(epochs=20, rate=0.1, layer_decay=0.75)}
FREEZE_BACKBONE = 1  # epochs in which fresh heads learn alone


def find_preset(name: str | None) -> Preset | None:
    """Return a preset by name, None for None. Raises UserError for an unknown name."""
    if name is None or name in PRESETS:
        return PRESETS[name] if name else None
    raise UserError(
        f'preset={name!r} is unknown; use {", ".join(PRESETS)}, or None for the recipe as it is',
        key='preset',
        value=name,
    )


def rules(
    preset: Preset | None, freeze_backbone: int
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the rules of `param_effects` that go before a recipe's own, and those after them."""
    before = [dict(layer_decay=preset.layer_decay)] if preset else []
    frozen = dict(match=r'^student\.backbone\.', frozen_epochs=freeze_backbone)
    return before, [frozen] if freeze_backbone else []


def encoder_backbone(recipe: dict[str, Any], source: str) -> dict[str, Any]:
    """Return the settings of a method's backbone that starts from an encoder.

    They are those of the encoder's network, with what the ``recipe``'s backbone says on training;
    where ``source`` tells no network, the recipe's. Raises UserError as `network_of` does.
    """
    found = network_of(source)
    if not found:
        return {**recipe, 'init_cfg': dict(type='Pretrained', checkpoint=source)}
    settings = encoder_settings(source)
    if settings['type'].rpartition('.')[2] == str(recipe.get('type')).rpartition('.')[2]:
        kept = {key: recipe[key] for key in OF_TRAINING if key in recipe}
        settings = {**kept, **settings}
    return settings


def is_method(model: Any) -> bool:
    """Whether the model of a config is a pretraining method."""
    kind = registry.MODELS.get(model['type']) if isinstance(model, dict) and 'type' in model else 0
    return hasattr(kind, 'check_recipe') and hasattr(kind, 'teacher_update')


def go_on(
    cfg: Config,
    source: str,
    preset: str | None = 'continue',
    freeze_backbone: int = FREEZE_BACKBONE,
    epochs: int | None = None,
) -> None:
    """Let a pretraining config start from an encoder, in place, and log how it is changed.

    Student and teacher get its network and weights; views and masks fit its patches. In the first
    ``freeze_backbone`` epochs the heads learn alone. ``preset`` shortens the schedule, to
    ``epochs`` where these are given. The monitor looks before the first step, and the start is
    shown beside all later figures. Raises UserError for an unknown preset, for ``load_from`` beside
    it, and for a source that is not there.
    """
    chosen = find_preset(preset)
    at_least('freeze_backbone', freeze_backbone, 0)
    if cfg.get('load_from'):
        raise UserError(
            f'pretrained={source} and load_from={cfg.load_from} are two starts: give one',
            key='pretrained',
            value=source,
        )
    cfg.model.backbone = encoder_backbone(dict(cfg.model.backbone), source)
    _fit_network(cfg)
    published = cfg.train_cfg.max_epochs
    if epochs is not None:
        cfg.train_cfg.max_epochs = epochs
    elif chosen:
        cfg.train_cfg.max_epochs = min(published, chosen.epochs)
    share = cfg.train_cfg.max_epochs / published
    schedules = cfg.get('param_scheduler') or []
    schedules = [schedules] if isinstance(schedules, dict) else schedules
    cfg.param_scheduler = [shorten(dict(schedule), share) for schedule in schedules]
    for key, value in cfg.model.items():
        if isinstance(value, dict) and 'start' in value:
            cfg.model[key] = shorten(dict(value), share)
    groups = dict(cfg.optim_wrapper.get('paramwise_cfg') or {})
    before, after = rules(chosen, freeze_backbone)
    groups['rules'] = [*before, *groups.get('rules', []), *after]
    cfg.optim_wrapper.paramwise_cfg = groups
    if chosen:
        cfg.optim_wrapper.optimizer.lr *= chosen.rate
    if cfg.get('val_cfg'):
        cfg.train_cfg.val_at_start = True
        interval = cfg.train_cfg.get('val_interval', 1)
        cfg.train_cfg.val_interval = min(interval, max(cfg.train_cfg.max_epochs // 5, 1))
        cfg.custom_hooks = [*(cfg.get('custom_hooks') or []), dict(type='StartHook')]
    _say(cfg, source, preset, chosen, freeze_backbone)


def _say(
    cfg: Config, source: str, preset: str | None, chosen: Preset | None, freeze_backbone: int
) -> None:
    text = (
        f'pretrained={source}: student and teacher start from it; freeze_backbone='
        f'{freeze_backbone}, the epochs in which the heads learn alone'
    )
    if chosen:
        text += (
            f'; preset={preset}: {cfg.train_cfg.max_epochs} epochs, {chosen.rate:g} times the '
            f'learning rate ({cfg.optim_wrapper.optimizer.lr:g}), layer decay '
            f'{chosen.layer_decay:g}'
        )
    print_log(text, logger='current')


def _fit_network(cfg: Config) -> None:
    """Fit the first width of the neck, the views and the masks to the backbone."""
    with DefaultScope.overwrite_default_scope('mmssl'), torch.device('meta'):
        settings = {k: v for k, v in cfg.model.backbone.items() if k != 'init_cfg'}
        backbone = registry.MODELS.build(settings)
    neck = cfg.model.get('neck') or {}
    if 'dims' in neck:
        neck['dims'] = (backbone.num_features, *neck['dims'][1:])
    patch = getattr(backbone, 'patch_size', None)
    for step in cfg.train_dataloader.dataset.get('pipeline', []):
        if step.get('type') != 'MultiView':
            continue
        fitted = fit_views(copy.deepcopy(dict(step)), patch or 1, backbone.mask_cell(settings))
        step.update(fitted)
