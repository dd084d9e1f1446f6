"""Build a model by name, config path or config, and load weights into it: `get_model`."""

import copy
import re
import warnings
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.registry import DefaultScope

from ..checkpoint import load, local_path
from ..config.check import check
from ..config.load import load_config
from ..config.stored_settings import stored_config
from ..core import UserError
from ..datasets.sources.base import numbered
from ..models.classifier import Classifier
from ..registry import MODELS
from ..zoo.hub import ModelHub, published, recipes
from ..zoo.metafile import ModelInfo

Mapping = tuple[str, str]
FILES = ('.pth', '.pt')  # endings of training files


def get_model(
    model: str | Path | Config,
    pretrained: bool | str | Path = False,
    device: Any = None,
    url_mapping: Mapping | None = None,
    **overrides: Any,
) -> BaseModel:
    """Build a model, in eval mode, and load weights into it.

    ``model`` is a name of `list_models`, a config file, a Config, or a training file of ours, whose
    weights it gets. ``pretrained`` is True for the published weights (a config's ``load_from``), or
    a path, an address or another model's name; any layout is read. ``overrides`` are merged into
    the config's model, such as ``backbone=dict(out_indices=(0, 1, 2, 3))``. ``url_mapping``
    (pattern, replacement) leads to a mirror. The result has ``_config``, ``_metainfo`` (ModelInfo
    or None) and ``_dataset_meta``. Raises ValueError for an unknown name, TypeError for another
    kind of ``model``, UserError for what does not fit.
    """
    cfg, info = read_config(model)
    name = info.name if info else str(cfg.filename or cfg.get('load_from') or 'the config')
    if is_training_file(model) and pretrained is False:
        pretrained = True
    if overrides:
        cfg.merge_from_dict({'model': overrides})
        check(Config(dict(model=cfg.model)), name)
    with DefaultScope.overwrite_default_scope('mmssl'):
        built = MODELS.build(cfg.model)
    source = _source(pretrained, cfg, info, name)
    classes: tuple[str, ...] = ()
    if source is not None:
        classes = _load_weights(built, source, url_mapping)
    elif (built.backbone.init_cfg or {}).get('checkpoint'):
        built.init_weights()
    if isinstance(built, Classifier):
        classes = _output_names(built, classes, cfg, info)
    built._dataset_meta = dict(classes=classes) if classes else {}
    built._config = cfg
    built._metainfo = info
    return (built if device is None else built.to(device)).eval()


def read_config(model: str | Path | Config) -> tuple[Config, ModelInfo | None]:
    """Return the config, which is the caller's to change, and the entry of a published model.

    Of a training file it is what the file carries to build its network and to read images.

    Raises UserError for a config without a model, for a model that is published as weights only,
    and for what is no config file or model name; TypeError for another kind of ``model``.
    """
    if isinstance(model, Config):
        if model.get('model') is None:
            raise UserError(
                f'{model.filename or "the config"}: has no model; give a config that defines one',
                key='model',
                value=None,
            )
        return copy.deepcopy(model), None
    if isinstance(model, (str, Path)) and Path(model).suffix == '.py':
        return load_config(model), None
    if is_training_file(model):
        return stored_config(model), None
    if not isinstance(model, str):
        raise TypeError(
            f'model is a {type(model).__name__}; pass a name of mmssl.list_models(), the path of '
            'a config (.py) or a Config'
        )
    if not ModelHub.has(model) and model in recipes():
        return load_config(model), None
    info = ModelHub.get(model)
    if info.config is None:
        raise UserError(
            f'{info.name}: published as weights only, no config here builds its network; load '
            f'them into a config of yours: get_model(CONFIG, pretrained={info.weights!r})',
            key='model',
            value=model,
        )
    cfg = load_config(info.config)
    if info.overrides:
        cfg.merge_from_dict({'model': info.overrides})
    return cfg, info


def is_training_file(model: Any) -> bool:
    """Whether ``model`` is the path of a file of weights that is there."""
    named = isinstance(model, (str, Path)) and Path(model).suffix in FILES
    return named and Path(model).is_file()


def _source(
    pretrained: bool | str | Path, cfg: Config, info: ModelInfo | None, name: str
) -> str | ModelInfo | None:
    """Return the published model or the file whose weights are to be loaded, or None."""
    if isinstance(pretrained, (str, Path)):
        return published(str(pretrained)) or str(pretrained)
    if not isinstance(pretrained, bool):
        kind = type(pretrained).__name__
        raise TypeError(f'pretrained is a {kind}; pass True, False, a path or an address')
    if not pretrained:
        return None
    if info is not None and info.weights:
        return info
    if info is None and cfg.get('load_from'):
        return published(cfg.load_from) or cfg.load_from
    warnings.warn(f'{name}: no weights were published, the network stays random', stacklevel=3)
    return None


def _load_weights(
    model: BaseModel, source: str | ModelInfo, url_mapping: Mapping | None
) -> tuple[str, ...]:
    """Load weights; return the class names a classifier's file states."""
    if not isinstance(source, ModelInfo):
        report = load(model, local_path(source, url_mapping=url_mapping))
        return report.classes if isinstance(model, Classifier) else ()
    if source.encoder:
        load(model, ModelHub.get(source.encoder).fetch(url_mapping), part='backbone')
    one_sided = isinstance(model, Classifier)
    load(model, source.fetch(url_mapping), branch=source.branch if one_sided else 'export')
    if not one_sided and source.branch != 'export':
        model.export = source.branch  # a file's useful half need not be the method's usual one
    return ()


def _output_names(
    model: Classifier, stated: tuple[str, ...], cfg: Config, info: ModelInfo | None
) -> tuple[str, ...]:
    """Return a name for each output: the file's, ImageNet's, or the numbers of a list.

    A list may leave out the highest numbers, so that its file states fewer than there are outputs.
    """
    if stated and stated != numbered(range(len(stated))):
        return stated
    of_list = numbered(range(model.head.num_classes)) if stated else ()
    return _imagenet_classes(model, cfg, info) or of_list


def _imagenet_classes(model: Classifier, cfg: Config, info: ModelInfo | None) -> tuple[str, ...]:
    """Return ImageNet's class names for a classifier of its 1000 classes."""
    data = info.metadata.get('Training Data', '') if info else cfg.get('data_root') or ''
    if model.head.num_classes != 1000 or not re.search('imagenet', str(data), re.IGNORECASE):
        return ()
    from timm.data import ImageNetInfo

    names = ImageNetInfo()
    return tuple(names.index_to_description(i) for i in range(1000))
