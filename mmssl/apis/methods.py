"""Methods for a training loop of one's own."""

import inspect
from typing import Any, NamedTuple

import torch
from mmengine.registry import DefaultScope
from torch import nn

from ..config.continuation import FREEZE_BACKBONE, Preset, find_preset, rules
from ..config.load import single_views
from ..config.method_recipes import (
    RECIPES,
    Scale,
    method_recipe,
    pipeline_of,
    resize_views,
    scaled_model,
    training_settings,
)
from ..config.pretrained import encoder_settings, fetch_file, network_of
from ..core import UserError
from ..core.errors import at_least
from ..datasets.transforms.multi_view import build_multi_view
from ..datasets.view_transform import ViewTransform
from ..models.algorithms.base import Pretrainer
from ..models.backbones import Backbone, backbone_settings
from ..optim import Recipe
from ..registry import MODELS

KINDS = {'ResNet': 'convnet', 'VisionTransformer': 'vit', 'SwinTransformer': 'swin',
         'CvT': 'swin', 'ViL': 'swin', 'ModuleBackbone': 'convnet'}  # fmt: skip
VITS = ('vit', 'deit', 'beit', 'eva')  # beginnings of timm's names


def list_methods() -> list[str]:
    """Return the names that `build_method` takes, sorted."""
    return sorted(RECIPES)


def build_method(
    name: str,
    backbone: str | dict[str, Any] | nn.Module | None = None,
    *,
    img_size: int = 224,
    batch_size: int | None = None,
    epochs: int | None = None,
    steps_per_epoch: int | None = None,
    teacher: str | dict[str, Any] | nn.Module | None = None,
    pretrained: str | None = None,
    preset: str | None = 'continue',
    freeze_backbone: int = FREEZE_BACKBONE,
) -> Pretrainer:
    """Build a method with its paper's settings for a batch, to be trained by a loop of one's own.

    ``backbone`` is a name ('resnet18', timm's, 'torchvision/NAME'), settings of a registered one,
    or a module; by default the paper's. ``img_size`` are the pixels of the largest views,
    ``batch_size`` the images of an update, over all processes and accumulated batches. A training
    of ``epochs`` times ``steps_per_epoch`` steps; where it is shorter than the published one,
    warm-ups keep their share of it. The recipe's learning rate follows the batch in proportion.
    Weights are random, but for ``pretrained``: an encoder that student and teacher start from,
    whose network is the backbone where it is not named. Its heads then learn alone for
    ``freeze_backbone`` epochs, and ``preset`` lowers the rate, None does not. ``teacher`` is the
    encoder that 'distillation' learns from: what ``pretrained`` takes, settings of a backbone with
    their ``init_cfg``, or a module; other methods have none. Raises UserError for an unknown name,
    a missing number, and what the method cannot use.
    """
    numbers = dict(batch_size=batch_size, epochs=epochs, steps_per_epoch=steps_per_epoch)
    given: dict[str, int] = dict(img_size=img_size)
    for key, value in numbers.items():
        if value is None:
            raise UserError(
                f'build_method: {key} is missing; schedules and the rate depend on it',
                key=key,
                value=None,
            )
        given[key] = value
    scale = Scale(*(at_least(key, value) for key, value in given.items()))
    gentle = find_preset(preset), at_least('freeze_backbone', freeze_backbone, 0)
    settings, cfg = _with_encoders(name, backbone, scale, teacher, pretrained)
    with DefaultScope.overwrite_default_scope('mmssl'):
        model, views = _model_and_views(settings, cfg, scale)
        method: Pretrainer = MODELS.build(model)
        _check_views(model, views)
        method.check_batch(scale.batch_size)
    training = training_settings(cfg, scale)
    if pretrained is not None:
        _train_gently(training, *gentle)
    method.recipe = Recipe(training.pop('optimizer'), **training)
    for key, schedule in method.schedules().items():
        schedule.check(*method.recipe.length, f'model.{key}')
    method.init_weights()
    found: Pretrainer = method.train()
    return found


class TrainingSettings(NamedTuple):
    """Settings of a config that trains a method: values of its keys, and the images' pipeline."""

    model: dict[str, Any]
    optim_wrapper: dict[str, Any]
    param_scheduler: list[dict[str, Any]]
    pipeline: list[dict[str, Any]]
    sync_bn: Any


def training_settings_of(
    name: str,
    backbone: str | dict[str, Any] | None = None,
    *,
    img_size: int,
    batch_size: int,
    epochs: int,
    images: int,
    teacher: str | dict[str, Any] | None = None,
    pretrained: str | None = None,
    preset: str | None = 'continue',
    freeze_backbone: int = FREEZE_BACKBONE,
) -> TrainingSettings:
    """Return the settings with which a config trains what `build_method` builds, on ``images``.

    ``teacher``, ``pretrained`` and what goes with it are those of `build_method`. Raises UserError
    as `build_method` does, and for a backbone that has no settings.
    """
    scale = Scale(img_size, batch_size, epochs, max(images // batch_size, 1))
    gentle = find_preset(preset), at_least('freeze_backbone', freeze_backbone, 0)
    settings, cfg = _with_encoders(name, backbone, scale, teacher, pretrained)
    if not isinstance(settings, dict):
        raise UserError(
            f'backbone={backbone!r}: a config needs a name or settings of a backbone',
            key='backbone',
            value=backbone,
        )
    with DefaultScope.overwrite_default_scope('mmssl'):
        model, views = _model_and_views(settings, cfg, scale)
        _check_views(model, views)
    training = training_settings(cfg, scale)
    if pretrained is not None:
        _train_gently(training, *gentle)
    wrapper = dict(cfg.optim_wrapper, optimizer=training['optimizer'])
    wrapper['paramwise_cfg'] = dict(rules=training['rules'])
    wrapper.pop('amp', None)
    schedules = [_scaled(schedule, training['ratio']) for schedule in training['schedules']]
    return TrainingSettings(
        model, wrapper, schedules, [dict(type='LoadImage'), views], cfg.get('sync_bn')
    )


def _scaled(schedule: dict[str, Any], ratio: float) -> dict[str, Any]:
    """Return a schedule whose values that follow the rate are scaled already."""
    follow = schedule.get('scale', ())
    kept = {key: value for key, value in schedule.items() if key != 'scale'}
    return {key: value * ratio if key in follow else value for key, value in kept.items()}


def build_transform(
    name: str, backbone: str | dict[str, Any] | nn.Module | None = None, *, img_size: int = 224
) -> ViewTransform:
    """Build the views of a method as a transform of images, with its ``collate``.

    ``backbone`` is that of `build_method`: views and masks fit its patches. Raises UserError for an
    unknown name and for a size that the patches do not divide.
    """
    settings, cfg = _with_recipe(name, backbone, at_least('img_size', img_size), None)
    with DefaultScope.overwrite_default_scope('mmssl'):
        shape = _shape(settings)
        views = resize_views(pipeline_of(cfg), img_size, shape.cell, shape.mask_cell)
        return ViewTransform(build_multi_view([views]))


def _with_encoders(
    name: str,
    backbone: str | dict[str, Any] | nn.Module | None,
    scale: Scale,
    teacher: str | dict[str, Any] | nn.Module | None,
    pretrained: str | None,
) -> tuple[dict[str, Any] | Backbone, Any]:
    """Return the backbone or its settings, which may start from an encoder, and the recipe.

    The recipe's model has the teacher that is distilled, if there is one.
    """
    if pretrained is not None and backbone is None:
        backbone = network_of(pretrained) or None
    settings, cfg = _with_recipe(name, backbone, scale.img_size, scale.batch_size)
    if pretrained is not None:
        settings = _starting_from(settings, pretrained)
    _set_teacher(cfg.model, name, teacher)
    return settings, cfg


def _train_gently(training: dict[str, Any], preset: Preset | None, freeze_backbone: int) -> None:
    """Change rate and rules of a training, in place, as going on from an encoder needs them."""
    before, after = rules(preset, freeze_backbone)
    training['rules'] = [*before, *training['rules'], *after]
    training['optimizer']['lr'] *= preset.rate if preset else 1


def _model_and_views(
    settings: dict[str, Any] | Backbone, cfg: Any, scale: Scale
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the settings of a recipe's model over a backbone, and of the views that fit it."""
    shape = _shape(settings)
    model = scaled_model(cfg, shape.width, scale)
    model['backbone'] = settings
    return model, resize_views(pipeline_of(cfg), scale.img_size, shape.cell, shape.mask_cell)


def _starting_from(settings: dict[str, Any] | Backbone, source: str) -> dict[str, Any] | Backbone:
    """Return a backbone, or its settings, that starts from an encoder."""
    init = dict(type='Pretrained', checkpoint=source)
    fetch_file(init)
    if isinstance(settings, dict):
        return {**settings, 'init_cfg': init}
    settings.init_cfg = init
    return settings


def _set_teacher(model: Any, name: str, teacher: str | dict[str, Any] | nn.Module | None) -> None:
    """Put the encoder that is distilled into a recipe's model.

    Raises UserError where it is missing, and where the method has none.
    """
    if ('teacher' in model) != (teacher is not None):
        why = 'learns from an encoder, teacher=NAME' if teacher is None else 'has no such encoder'
        raise UserError(
            f'build_method: teacher={teacher!r}: {name} {why}', key='teacher', value=teacher
        )
    if isinstance(teacher, str):
        model.teacher = encoder_settings(teacher)
        fetch_file(model.teacher.init_cfg)
    elif teacher is not None:
        model.teacher = teacher


def _check_views(model: dict[str, Any], multi: dict[str, Any]) -> None:
    """Let the method check its views and masks. Raises UserError as `Pretrainer.check_recipe`."""
    described = dict(model)
    if isinstance(model['backbone'], Backbone):
        described['backbone'] = dict(patch_size=model['backbone'].strides[-1])
    MODELS.get(model['type']).check_recipe(described, single_views(multi), multi.get('mask'))


def _with_recipe(
    name: str,
    backbone: str | dict[str, Any] | nn.Module | None,
    img_size: int,
    batch_size: int | None,
) -> tuple[dict[str, Any] | Backbone, Any]:
    """Return the backbone or its settings, and the published recipe for its kind of network."""
    if backbone is None:
        cfg = method_recipe(name, None, batch_size)
        settings: dict[str, Any] | Backbone = dict(cfg.model.backbone)
    else:
        settings = backbone_settings(backbone, img_size)
        cfg = method_recipe(name, _kind(settings), batch_size)
        published = cfg.model.backbone
        if isinstance(settings, dict) and published['type'] == settings['type']:
            size = {'arch', 'depth', 'num_heads', 'layers', 'width'}  # go together
            kept = {k: v for k, v in published.items() if k not in size}
            settings = {**kept, **settings}
    if isinstance(settings, dict):
        takes = inspect.signature(MODELS.get(settings['type']).__init__).parameters
        if 'img_size' in takes:
            settings.setdefault('img_size', img_size)
    return settings, cfg


def _kind(settings: dict[str, Any] | Backbone) -> str:
    """Return the kind of network of a backbone, as recipes distinguish them."""
    if isinstance(settings, Backbone):
        return KINDS.get(type(settings).__name__, 'convnet')
    if settings['type'] == 'TimmBackbone':
        name = settings['name'].removeprefix('timm/')
        return 'swin' if 'swin' in name else 'vit' if name.startswith(VITS) else 'convnet'
    return KINDS.get(settings['type'], 'convnet')


class Shape(NamedTuple):
    """What a recipe must know of a backbone: its channels, and the pixels that views come in."""

    width: int
    cell: int
    mask_cell: int


def _shape(settings: dict[str, Any] | Backbone) -> Shape:
    """Return the shape of a backbone, built without memory."""
    if isinstance(settings, Backbone):
        built = settings
    else:
        with torch.device('meta'):
            built = MODELS.build(settings)
    # ConvNets take any size, transformers whole tokens
    cell = 1 if _kind(settings) == 'convnet' else built.strides[-1]
    return Shape(built.num_features, cell, built.strides[-1])
