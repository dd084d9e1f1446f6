"""Recipe of a method for another backbone, image size, batch and length than the published ones."""

import copy
from typing import Any, NamedTuple

from mmengine.config import Config

from ..core import UserError
from ..core.errors import closest
from ..zoo.hub import recipes
from .load import load_config
from .scaling import PUBLISHED_SIZE, fit_views, shorten

# kinds of networks -> recipe, the method's usual one first
RECIPES: dict[str, dict[str, str]] = {
    'mocov1': {'convnet': 'mocov1_resnet50_8xb32-steplr-200e_in1k'},
    'mocov2': {'convnet': 'mocov2_resnet50_8xb32-coslr-200e_in1k'},
    'mocov3': {
        'convnet': 'mocov3_resnet50_8xb512-amp-coslr-300e_in1k',
        'vit': 'mocov3_vit-small-p16_16xb256-amp-coslr-300e_in1k',
    },
    'swav': {'convnet': 'swav_resnet50_64xb64-amp-mcrop-coslr-400e_in1k-224px-96px'},
    'dino': {
        'vit': 'dino_vit-small-p16_8xb64-amp-mcrop-coslr-100e_in1k',
        'convnet': 'dino_resnet50_8xb64-amp-mcrop-coslr-100e_in1k',
    },
    'esvit': {
        'swin': 'esvit_swin-tiny-w7_16xb32-amp-mcrop-coslr-300e_in1k',
        'convnet': 'esvit_resnet50_16xb64-amp-mcrop-coslr-v200-300e_in1k',
    },
    'ibot': {
        'vit': 'ibot_vit-small-p16_16xb64-amp-mcrop-coslr-800e_in1k',
        'swin': 'ibot_swin-tiny-w7_16xb64-amp-mcrop-coslr-300e_in1k',
    },
    'sere': {'vit': 'sere_vit-small-p16_8xb128-amp-mcrop-coslr-100e_in1k'},
    'distillation': {
        'vit': 'distillation_vit-small-p14_8xb128-amp-coslr-100e_in1k',
        'convnet': 'distillation_resnet50_8xb128-amp-coslr-100e_in1k',
        'swin': 'distillation_swin-tiny-w7_8xb128-amp-coslr-100e_in1k',
    },
    'moby': {
        'swin': 'moby_swin-tiny_8xb64-amp-coslr-300e_in1k',
        'vit': 'moby_deit-small_8xb64-amp-coslr-300e_in1k',
    },
}
# SwAV's authors use a queue where the batch is small
SMALL_BATCH = {'swav': (1024, 'swav_resnet50_4xb64-amp-mcrop-coslr-400e_in1k-224px-96px')}
# which recipe serves a kind that the method has none for
NEAREST = {
    'convnet': ('convnet', 'swin', 'vit'),
    'vit': ('vit', 'swin', 'convnet'),
    'swin': ('swin', 'vit', 'convnet'),
}


class Scale(NamedTuple):
    """What a recipe is brought to: pixels, images of a step, epochs, steps of an epoch."""

    img_size: int
    batch_size: int
    epochs: int
    steps_per_epoch: int


def recipe_name(method: str) -> str:
    """Return the name of a method in `RECIPES`. Raises UserError for an unknown one."""
    key = method.lower() if isinstance(method, str) else ''
    if key not in RECIPES:
        raise UserError(
            f"'{method}' is no method{closest(key, RECIPES)}; there are {', '.join(RECIPES)}",
            key='method',
            value=method,
        )
    return key


def method_recipe(method: str, kind: str | None = None, batch_size: int | None = None) -> Config:
    """Return the published config of a method for a ``kind`` of network, for a batch.

    ``kind`` is 'convnet', 'vit' or 'swin', by default the method's usual one. Raises UserError for
    an unknown method.
    """
    name = recipe_name(method)
    files = RECIPES[name]
    chosen = next(k for k in NEAREST[kind] if k in files) if kind else next(iter(files))
    file = files[chosen]
    below, small = SMALL_BATCH.get(name, (0, ''))
    if batch_size is not None and batch_size < below:
        file = small
    return load_config(recipes()[file])


def pipeline_of(cfg: Config) -> dict[str, Any]:
    """Return a copy of the MultiView settings of a recipe."""
    (multi,) = (t for t in cfg.train_dataloader.dataset.pipeline if t['type'] == 'MultiView')
    return copy.deepcopy(dict(multi))


def resize_views(multi: dict[str, Any], img_size: int, cell: int, mask_cell: int) -> dict[str, Any]:
    """Return MultiView settings for global views of ``img_size`` pixels.

    Other views keep their share of it, in whole cells of ``cell`` pixels, which are the network's
    patches; masks have cells of ``mask_cell`` pixels. Raises UserError for a size that is not a
    multiple of the cell.
    """
    if img_size % cell:
        raise UserError(
            f'img_size={img_size} is no multiple of the {cell} pixels of a patch; use '
            f'{max(round(img_size / cell), 1) * cell}',
            key='img_size',
            value=img_size,
        )
    scale = img_size / PUBLISHED_SIZE
    views = [{**view, 'size': view.get('size', PUBLISHED_SIZE) * scale} for view in multi['views']]
    return fit_views({**multi, 'views': views}, cell, mask_cell)


def scaled_model(cfg: Config, width: int, scale: Scale) -> dict[str, Any]:
    """Return the model settings of a recipe for a backbone of ``width`` channels.

    Warm-ups of a shorter training keep their share of it; a queue is at most half an epoch.
    """
    model: dict[str, Any] = copy.deepcopy(cfg.model.to_dict())
    if 'neck' in model:  # a method may make its own
        model['neck']['dims'] = (width, *model['neck']['dims'][1:])
    share = scale.epochs / cfg.train_cfg.max_epochs
    for key, value in model.items():
        if isinstance(value, dict) and 'start' in value:
            model[key] = shorten(value, share)
    half = scale.steps_per_epoch // 2 * scale.batch_size
    for part in (model, model.get('head', {})):
        if part.get('queue_length') is not None:
            part['queue_length'] = min(part['queue_length'], max(half, scale.batch_size))
        if part.get('queue_start') is not None:
            part['queue_start'] = int(part['queue_start'] * min(share, 1))
    return model


def training_settings(cfg: Config, scale: Scale) -> dict[str, Any]:
    """Return the arguments of `mmssl.optim.Recipe`: the rate of the batch, groups, schedules."""
    share = scale.epochs / cfg.train_cfg.max_epochs
    ratio = scale.batch_size / cfg.auto_scale_lr.base_batch_size
    optimizer = dict(cfg.optim_wrapper.optimizer)
    optimizer['lr'] *= ratio
    rules = []
    for rule in (cfg.optim_wrapper.get('paramwise_cfg') or {}).get('rules', ()):
        rule = dict(rule)
        if rule.pop('frozen_iters', 0):  # one epoch of ImageNet in all recipes
            rule['frozen_epochs'] = 1
        rules.append(rule)
    return dict(
        optimizer=optimizer,
        rules=rules,
        schedules=[shorten(dict(s), share) for s in cfg.param_scheduler],
        clip_grad=cfg.optim_wrapper.get('clip_grad'),
        ratio=ratio,
        epochs=scale.epochs,
        steps_per_epoch=scale.steps_per_epoch,
    )
