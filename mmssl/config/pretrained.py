"""Encoders by name or file: the ``pretrained`` key, and the teacher that is distilled."""

from pathlib import Path
from typing import Any

from mmengine.config import Config

from ..checkpoint.fetch.library_names import PREFIXES as LIBRARIES
from ..checkpoint.fetch.library_names import library_backbone
from ..checkpoint.fetch.web import is_address
from ..checkpoint.hyperparameters import backbone_settings, foundation_settings
from ..checkpoint.reader.read_file import read_outline
from ..core import UserError
from ..core.errors import closest
from ..zoo.hub import ModelHub, identify, published
from ..zoo.metafile import ModelInfo
from .stored_settings import check_types

RANDOM = 'random'  # the untrained network, which must be requested explicitly
OPTION = '--cfg-options pretrained=PATH|URL|NAME'
NETWORK = '--cfg-options model.backbone.type=ResNet model.backbone.depth=50'


def replace_copy(cfg: Config, options: dict[str, Any]) -> None:
    """Drop what `copy_options` wrote into a config of a work dir, where an option names another."""
    backbone = (cfg.get('model') or {}).get('backbone') or {}
    copied = (backbone.get('init_cfg') or {}).get('checkpoint')
    if options.get('pretrained') and copied and copied == cfg.get('pretrained'):
        cfg.model.backbone.init_cfg = None


def copy_options(cfg: Config) -> None:
    """Copy ``pretrained`` and ``branch`` to ``model.backbone.init_cfg``, or back.

    Configs that evaluate have the key, None until a run gives it; ``branch`` goes with it. A
    ``model.backbone`` without a type is completed by that of the encoder. Raises UserError when
    the two name different files, the config takes none, or the network is not known.
    """
    if 'pretrained' not in cfg or not cfg.get('model'):
        return
    backbone = cfg.model.get('backbone') or {}
    init = dict(backbone.get('init_cfg') or {})
    given = cfg.pretrained or ''
    in_backbone = init.get('checkpoint') or ''
    if given and in_backbone and given != in_backbone:
        raise UserError(
            f'pretrained={given} and model.backbone.init_cfg.checkpoint={in_backbone} are two '
            'encoders: give one',
            key='pretrained',
            value=given,
        )
    cfg.pretrained = given or in_backbone or None
    if cfg.pretrained and 'type' not in backbone:
        cfg.model.backbone = {**backbone_of(cfg.pretrained), **backbone}
    if 'backbone' not in cfg.model:
        return
    backbone = cfg.model.backbone
    if cfg.pretrained == RANDOM:
        cfg.model.backbone.init_cfg = None
        return
    branch = {'branch': cfg.branch} if cfg.get('branch') else {}
    backbone.init_cfg = {'type': 'Pretrained', **init, 'checkpoint': given or in_backbone, **branch}


def backbone_of(source: str) -> dict[str, Any]:
    """Return the ``model.backbone`` that an encoder belongs to.

    It is that of a published model's config, for its name, its address or its downloaded file, for
    a training file of ours the one stored in it, for a file of DINOv2 or DINOv3 what its tensors
    tell, and for a name of timm or torchvision theirs.
    Raises UserError for other files, and for a path that does not exist.
    """
    found = network_of(source)
    if not found:
        raise UserError(
            f'pretrained={source} does not tell which network it is; describe it, for example by '
            f'{NETWORK}',
            key='pretrained',
            value=source,
        )
    return found


def network_of(source: str) -> dict[str, Any]:
    """Return the settings of an encoder's network without its file, {} where it tells none.

    As `backbone_of`. Raises UserError for a path that does not exist.
    """
    found: Any = {}
    if info := identify(source):
        found = _published_backbone(info)
    elif source.startswith(LIBRARIES):
        found = library_backbone(source)
    elif source != RANDOM and not is_address(source):
        require_file(source)
        content = read_outline(source)  # shapes tell enough; the weights are read by loading
        found = backbone_settings(content) or foundation_settings(content)
        check_types(found, source, 'name the network by --cfg-options model.backbone.type=...')
    return {key: value for key, value in found.items() if key != 'init_cfg'}


def encoder_settings(source: str) -> dict[str, Any]:
    """Return the settings of a backbone that starts from an encoder: its network and its file.

    ``source`` is what ``pretrained=`` takes. Raises UserError as `backbone_of` does.
    """
    init = {'type': 'Pretrained', 'checkpoint': source}
    return {**backbone_of(source), 'init_cfg': init}


def expand_teacher(cfg: Config) -> None:
    """Replace ``model.teacher``, where it is a name or file, by the settings of its network.

    Raises UserError as `backbone_of` does.
    """
    model = cfg.get('model')
    teacher = model.get('teacher') if isinstance(model, dict) else None
    if isinstance(teacher, str):
        model['teacher'] = encoder_settings(teacher)


def _published_backbone(info: ModelInfo) -> dict[str, Any]:
    """Return the backbone of a published model's config, or nothing when it has no config."""
    if info.config is None:
        return {}
    cfg = Config.fromfile(str(info.config), import_custom_modules=False)
    cfg.merge_from_dict({'model': info.overrides})
    found: dict[str, Any] = cfg.model.backbone
    return found


def set_pretrained(cfg: Config, checkpoint: str | None) -> None:
    """Make ``checkpoint``, if there is one, the encoder that is measured.

    Raises UserError when the config names another.
    """
    if checkpoint is None or 'pretrained' not in cfg:
        return
    if cfg.pretrained not in (None, checkpoint):
        raise UserError(
            f'pretrained={cfg.pretrained} and {checkpoint} are two encoders: give one',
            key='pretrained',
            value=cfg.pretrained,
        )
    cfg.pretrained = checkpoint
    copy_options(cfg)


def measures_encoder_alone(cfg: Config) -> bool:
    """Whether the config measures the encoder itself: its file is all there is to load."""
    return str(cfg.model.get('type')).rpartition('.')[2] == 'Encoder'


def fetch_pretrained(cfg: Config) -> None:
    """Turn names of published models into their files, which are downloaded once."""
    for part in ('backbone', 'teacher'):
        network = (cfg.get('model') or {}).get(part)
        init = (network.get('init_cfg') if isinstance(network, dict) else None) or {}
        fetch_file(init)


def fetch_file(init: dict[str, Any]) -> None:
    """Turn the name of a published model in an ``init_cfg`` into its file, in place."""
    if info := published(init.get('checkpoint') or ''):
        init['checkpoint'] = str(info.fetch())
        if info.branch != 'export':
            init.setdefault('branch', info.branch)


def require_pretrained(cfg: Config) -> None:
    """Check, before anything is built, that the encoder is given and there.

    Raises UserError when it is not, and when the config names no network.
    """
    if 'pretrained' not in cfg or cfg.get('resume'):
        return
    if cfg.pretrained is None and not cfg.get('load_from'):
        raise UserError(
            f'{cfg.filename}: evaluates an encoder, and none is given: add {OPTION}; the untrained '
            f'network is pretrained={RANDOM}',
            key='pretrained',
            value=None,
        )
    backbone = cfg.model.get('backbone') or {}
    if 'type' not in backbone:
        raise UserError(
            f'{cfg.filename}: names no network; add it, for example by {NETWORK}',
            key='model.backbone.type',
            value=None,
        )
    require_file((backbone.get('init_cfg') or {}).get('checkpoint'))


def require_file(file: str | None) -> None:
    """Check that a file to start from is there; an address and None pass.

    Raises UserError with the models of near names when it is not.
    """
    if file and not is_address(file) and not Path(file).is_file():
        near = closest(file.lower(), ModelHub.models())
        raise UserError(
            f'pretrained={file}: no such file, and no model has this name{near}',
            key='pretrained',
            value=file,
        )
