"""Whose network an evaluation measures: the ``pretrain`` key of its config."""

from pathlib import Path
from typing import Any

from mmengine.config import Config

from ..core import UserError
from ..core.errors import closest
from .hub import ModelHub, published

RANDOM = 'random'  # the untrained network, which has to be asked for
OPTION = '--cfg-options pretrain=PATH|URL|NAME'


def spread(cfg: Config) -> None:
    """Let ``pretrain`` and ``model.backbone.init_cfg.checkpoint`` say the same.

    Configs that evaluate have the key, None until a run gives it; ``side`` goes with it. Raises
    UserError when the two name different files, or the config takes none.
    """
    if 'pretrain' not in cfg or 'backbone' not in (cfg.get('model') or {}):
        return
    backbone = cfg.model.backbone
    init = dict(backbone.get('init_cfg') or {})
    given, habit = cfg.pretrain or '', init.get('checkpoint') or ''
    if given and habit and given != habit:
        raise UserError(
            f'pretrain={given} and model.backbone.init_cfg.checkpoint={habit} are two encoders: '
            'give one'
        )
    cfg.pretrain = given or habit or None
    if cfg.pretrain == RANDOM:
        backbone.init_cfg = None
        return
    side = {'side': cfg.side} if cfg.get('side') else {}
    backbone.init_cfg = {'type': 'Pretrained', **init, 'checkpoint': given or habit, **side}


def give(cfg: Config, checkpoint: str | None) -> None:
    """Measure ``checkpoint``, if there is one; UserError when the config names another."""
    if checkpoint is None or 'pretrain' not in cfg:
        return
    if cfg.pretrain not in (None, checkpoint):
        raise UserError(f'pretrain={cfg.pretrain} and {checkpoint} are two encoders: give one')
    cfg.pretrain = checkpoint
    spread(cfg)


def alone(cfg: Config) -> bool:
    """Whether the config measures the encoder itself: its file is all there is to load."""
    return str(cfg.model.get('type')).rpartition('.')[2] == 'Encoder'


def check_key(options: dict[str, Any], cfg: Config, path: Path) -> None:
    """Refuse ``pretrain`` for a config that pretrains, which starts from ``load_from``."""
    if 'pretrain' in options and 'pretrain' not in cfg:
        raise UserError(
            f'--cfg-options pretrain: {path} evaluates no encoder; load_from=PATH is what training '
            'starts from'
        )


def fetch(cfg: Config) -> None:
    """Turn the name of a published model into its file, which is downloaded once."""
    init = ((cfg.get('model') or {}).get('backbone') or {}).get('init_cfg') or {}
    if info := published(init.get('checkpoint') or ''):
        init['checkpoint'] = str(info.fetch())
        if info.side != 'export':
            init.setdefault('side', info.side)


def require(cfg: Config) -> None:
    """Raise UserError, before anything is built, when the encoder is not given or not there."""
    if 'pretrain' not in cfg or cfg.get('resume'):
        return
    if cfg.pretrain is None and not cfg.get('load_from'):
        raise UserError(
            f'{cfg.filename}: evaluates an encoder, and none is given: add {OPTION}; the untrained '
            f'network is pretrain={RANDOM}'
        )
    need((cfg.model.backbone.get('init_cfg') or {}).get('checkpoint'))


def need(file: str | None) -> None:
    """Raise UserError, with the models of near names, when a file to start from is not there."""
    if file and '://' not in file and not Path(file).is_file():
        near = closest(file.lower(), ModelHub.models())
        raise UserError(f'pretrain={file}: no such file, and no model has this name{near}')
