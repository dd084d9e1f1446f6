"""A trained probe over a frozen network as one classifier, in a file that predicts classes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from torch import Tensor

from ..checkpoint import save
from ..core.io import to_plain
from ..models.backbones import Backbone
from ..models.classifier import Classifier
from ..registry import MODELS
from ..version import __version__
from .probe import Scale


@torch.no_grad()
def classifier_of(
    backbone: Backbone, settings: dict[str, Any], weights: Tensor, bias: Tensor, scale: Scale
) -> Classifier:
    """Return a `Classifier` of ``settings`` whose logits are those of a probe.

    The probe is weights (classes, C) and bias (classes,) over features standardised by ``scale``,
    which becomes part of the layer.
    """
    model: Classifier = MODELS.build(settings)
    model.backbone.load_state_dict(backbone.state_dict())
    mean, std = scale.mean.double(), scale.std.double()
    layer = weights.double() / std  # (classes, C)
    model.head.fc.weight.copy_(layer)
    model.head.fc.bias.copy_(bias.double() - layer @ mean)
    found: Classifier = model.eval()
    return found


def settings_of(cfg: Config, layer: dict[str, Any], classes: int) -> dict[str, Any]:
    """Return the settings of a `Classifier` over the encoder of a config.

    ``layer`` holds blocks and pool, as `Backbone.last_blocks_features` takes them.
    """
    encoder = cfg.model.to_dict()
    settings = dict(
        type='Classifier',
        frozen=True,
        backbone=dict(encoder['backbone'], init_cfg=None),
        head=dict(type='LinearHead', num_classes=classes),
        **layer,
    )
    if encoder.get('data_preprocessor'):
        settings['data_preprocessor'] = encoder['data_preprocessor']
    return settings


def write(
    model: Classifier, settings: dict[str, Any], cfg: Config, classes: Sequence[str], path: Path
) -> None:
    """Write a classifier with its settings, its transforms of images and its class names."""
    kept = dict(model=settings, test_dataloader=cfg.test_dataloader.to_dict())
    meta = dict(model='Classifier', classes=list(classes), settings=kept, version=__version__)
    save.write({'state_dict': model.state_dict(), 'meta': to_plain(meta)}, path)
