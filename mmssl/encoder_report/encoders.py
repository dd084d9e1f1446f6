"""Encoders as they are evaluated: network, weights, and images as their own settings want them.

Size, crop and normalisation are each encoder's own: of timm's data configuration, of torchvision's
transforms of the weights, or of the config that a model of ours is evaluated with.
"""

import math
from pathlib import Path
from typing import Any, NamedTuple

import torch
from mmengine.registry import DefaultScope

from ..apis.images import SIDE, evaluation_pipeline
from ..apis.model import is_training_file, read_config
from ..checkpoint import local_path, read
from ..checkpoint.fetch.library_names import PREFIXES
from ..config.pretrained import (
    RANDOM,
    encoder_settings,
    fetch_file,
    network_of,
)
from ..config.stored_settings import stored_config
from ..core import UserError
from ..evaluation.fingerprint import network_settings, weights_hash
from ..evaluation.sanity_checks import check_filled
from ..models.backbones import ModuleBackbone
from ..models.backbones import backbone_settings as named_backbone
from ..models.encoder import Encoder
from ..registry import MODELS
from ..zoo.hub import identify
from .models import PIXELS, Run, names_network
from .pixels import PixelEncoder

Pipeline = list[dict[str, Any]]
CENTER = (dict(type='LoadImage'), dict(type='CenterView', size=SIDE, resize=256))
LARGE = 400  # pixels from which patches are looked at in the encoder's own size, not in twice


class Preparation(NamedTuple):
    """How an encoder wants images: transforms of files, and mean and std; None: the network's."""

    pipeline: Pipeline
    normalisation: dict[str, Any] | None = None

    @property
    def size(self) -> int:
        """Pixels of a side."""
        return int(next(step['size'] for step in self.pipeline if 'size' in step))


class LoadedEncoder(NamedTuple):
    """An encoder with its weights: its run, model, images, dense size, and what identifies it."""

    run: Run
    model: Any
    preparation: Preparation
    dense_size: int
    identity: dict[str, Any]

    @property
    def dense_pipeline(self) -> Pipeline:
        """The transforms for patches: the whole image as a square."""
        load = [step for step in self.preparation.pipeline if step['type'] == 'LoadImage']
        return [*load, dict(type='SquashView', size=self.dense_size)]

    def describe(self) -> str:
        """Return one line on the images it takes."""
        steps = [step for step in self.preparation.pipeline if step['type'] != 'LoadImage']
        words = []
        for step in steps:
            whole = step['type'] == 'SquashView'
            how = step.get('interpolation', 'bicubic')
            resize = step.get('resize', round(step.get('size', SIDE) * 256 / 224))
            said = f'whole image to {step.get("size")} px' if whole else (
                f'short side {resize}, centre {step.get("size")} px'
            )  # fmt: skip
            words.append(f'{said}, {how}')
        mean, std = self.identity['mean'], self.identity['std']
        shown = [', '.join(f'{value:.3g}' for value in values) for values in (mean, std)]
        return (
            f'{self.run.label}: {"; ".join(words)}; mean {shown[0]}; std {shown[1]}; patches at '
            f'{self.dense_size} px'
        )


def load_encoder(run: Run, device: Any = None) -> LoadedEncoder:
    """Build an encoder and load its weights.

    Raises UserError for weights that do not tell their network, or are of another.
    """
    preparation = preparation_of(run.network or run.source)
    if run.source == PIXELS:
        model: Any = PixelEncoder()
    else:
        model = _torchvision(run, preparation) or _network(run, preparation)
    model = model.eval().to(device or 'cpu')
    dense = _dense_size(model, preparation.size)
    preprocessor = model.data_preprocessor
    weights = PIXELS if run.source == PIXELS else weights_hash(model.backbone)
    identity = dict(
        weights=weights,
        pipeline=preparation.pipeline,
        mean=[round(v, 6) for v in preprocessor.mean.flatten().tolist()],
        std=[round(v, 6) for v in preprocessor.std.flatten().tolist()],
    )
    return LoadedEncoder(run, model, preparation, dense, identity)


def backbone_settings(run: Run) -> dict[str, Any]:
    """Return the ``model.backbone`` of a run, with its weights.

    Raises UserError for weights that do not tell their network.
    """
    if not run.network:
        try:
            return encoder_settings(run.source)
        except UserError as error:
            if error.key != 'pretrained' or not Path(run.source).is_file():
                raise
            raise UserError(
                f'{run.source}: does not tell which network it is; write NETWORK@FILE, such as '
                f'timm:NAME@{run.source}, a model of ours or a config',
                key='MODEL',
                value=run.source,
            ) from None
    settings = _of_network(run.network)
    settings.pop('init_cfg', None)
    if run.source != RANDOM:
        settings['init_cfg'] = dict(type='Pretrained', checkpoint=run.source)
    return settings


def _of_network(name: str) -> dict[str, Any]:
    if names_network(name) and not name.startswith(PREFIXES):
        cfg, _ = read_config(name)
        return dict(cfg.model.backbone)
    found = network_of(name)
    if not found:
        raise UserError(f'{name}: tells no network', key='MODEL', value=name)
    return dict(found)


def _network(run: Run, preparation: Preparation) -> Encoder:
    settings = backbone_settings(run)
    init = settings.get('init_cfg') or {}
    if init:
        fetch_file(init)
    torch.manual_seed(run.seed)
    with DefaultScope.overwrite_default_scope('mmssl'):
        model: Encoder = MODELS.build(
            dict(
                type='Encoder',
                backbone=settings,
                data_preprocessor=preparation.normalisation,
            )
        )
    if init:
        model.init_weights()
        check_filled(model, run.source)
    return model


def _torchvision(run: Run, preparation: Preparation) -> Encoder | None:
    """Return a network of torchvision that is no backbone of ours, without its classifier."""
    name = run.network or run.source
    library, _, kind = name.partition(':')
    if library != 'torchvision' or network_of(name):
        return None
    torch.manual_seed(run.seed)
    backbone = named_backbone(f'torchvision/{kind}', preparation.size)
    assert isinstance(backbone, ModuleBackbone)
    if run.source != RANDOM:
        content = read(local_path(run.source))
        match = backbone.net.load_state_dict(content.get('state_dict', content), strict=False)
        if match.missing_keys:
            raise UserError(
                f'{run.source}: has no {match.missing_keys[0]} of {name}; give a file of it',
                key='MODEL',
                value=run.source,
            )
    return Encoder(backbone, preparation.normalisation)


def preparation_of(name: str) -> Preparation:
    """Return how the encoder of a name or file wants images.

    That of its library's configuration or of the config it is evaluated with; where none is
    told, ImageNet's: short side 256, centre 224, bicubic.
    """
    library, _, kind = name.partition(':')
    if library == 'timm':
        return _of_timm(kind)
    if library == 'torchvision':
        return _of_torchvision(kind)
    cfg: Any = {}
    info = identify(name)
    if names_network(name):
        cfg, _ = read_config(name)
    elif info is not None and info.config is not None:
        cfg, _ = read_config(info.name)
    elif is_training_file(name):
        try:
            cfg = stored_config(name)
        except UserError:  # a file of others tells no transforms
            cfg = {}
    if not cfg:
        return Preparation([dict(step) for step in CENTER])
    steps = [dict(step) for step in evaluation_pipeline(cfg)]
    if not any(step['type'] == 'LoadImage' for step in steps):
        steps.insert(0, dict(type='LoadImage'))
    return Preparation(steps, (cfg.get('model') or {}).get('data_preprocessor'))


def _of_timm(name: str) -> Preparation:
    import timm
    from timm.data import resolve_data_config

    stated = timm.get_pretrained_cfg(name)
    cfg = resolve_data_config(pretrained_cfg=stated.to_dict() if stated else {})
    size = cfg['input_size'][1]
    how = cfg['interpolation'] if cfg['interpolation'] in ('bicubic', 'bilinear') else 'bicubic'
    if cfg['crop_mode'] == 'squash':
        view = dict(type='SquashView', size=size, interpolation=how)
    else:
        resize = math.floor(size / cfg['crop_pct'])
        view = dict(type='CenterView', size=size, resize=resize, interpolation=how)
    return Preparation([dict(type='LoadImage'), view], _normalisation(cfg['mean'], cfg['std']))


def _of_torchvision(name: str) -> Preparation:
    from torchvision import models

    made = models.get_model_weights(name).DEFAULT.transforms()
    view = dict(
        type='CenterView',
        size=made.crop_size[0],
        resize=made.resize_size[0],
        interpolation=made.interpolation.value,
    )
    return Preparation([dict(type='LoadImage'), view], _normalisation(made.mean, made.std))


def _normalisation(mean: Any, std: Any) -> dict[str, Any]:
    return dict(type='ViewPreprocessor', mean=list(mean), std=list(std))


@torch.no_grad()
def _dense_size(model: Any, size: int) -> int:
    """Return the side at which patches are looked at: twice the own where the network takes it."""
    if size >= LARGE:
        return size
    preprocessor = model.data_preprocessor
    channels = model.backbone.in_channels
    image = torch.zeros(1, channels, 2 * size, 2 * size, device=preprocessor.mean.device)
    try:
        model.encode(image.to(preprocessor.mean.dtype))
    except UserError:  # networks that are built for one size
        return size
    return 2 * size


def settings_of(encoder: LoadedEncoder) -> dict[str, Any]:
    """Return the settings of the network, as records keep them."""
    if encoder.run.source == PIXELS:
        return dict(type='pixels', parameters=0)
    count = sum(p.numel() for p in encoder.model.backbone.parameters())
    if isinstance(encoder.model.backbone, ModuleBackbone):
        return dict(type='ModuleBackbone', name=encoder.run.network or encoder.run.source,
                    parameters=count)  # fmt: skip
    return dict(network_settings(backbone_settings(encoder.run)), parameters=count)
