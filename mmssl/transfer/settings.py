"""Read and check a config of mmdet or mmseg, and merge command-line options."""

import ast
import importlib
import logging
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.registry import MODELS

from ..config.check import check_call
from ..config.custom_imports import import_custom
from ..config.load import OWN_KEYS, RUNNER_KEYS, merge_options, read_config_file
from ..config.nested import nested_dicts
from ..core import UserError, dist
from ..zoo.hub import config_file, recipes
from .data_checks import move_data

LIBRARIES = ('mmdet', 'mmseg')
# what their tools read beside mmengine's runner
KEYS = OWN_KEYS | RUNNER_KEYS | {'pretrained', 'tta_model', 'tta_pipeline', 'compile'}
# of ours: boxes of classes that metainfo lacks ('drop'), reading all label maps before training
KEYS |= {'other_classes', 'scan_labels'}


def library_of(path: str | Path) -> str | None:
    """Return 'mmdet' or 'mmseg' where a config is written for it, else None.

    The file is parsed, not run: a base of a library that is missing would fail there.
    """
    path = Path(path)
    if not path.is_file():  # the name of a recipe
        path = recipes().get(str(path), path)
    if not path.is_file():
        return None
    try:
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == 'default_scope':
                scope = ast.literal_eval(node.value)
                return scope if scope in LIBRARIES else None
        bases = Config._get_base_files(str(path))
    except (SyntaxError, ValueError, TypeError):
        return None  # `load_config` says what is wrong with it
    for base in bases:
        owner = base.partition('::')[0] if '::' in base else library_of(path.parent / base)
        if owner in LIBRARIES:
            return owner
    return None


def read_transfer_config(path: str, options: dict[str, Any]) -> Config:
    """Return a config with ``options`` merged last; ``data_root`` moves all that lies below it.

    Raises UserError naming the file and the library, key or value that is missing or wrong.
    """
    require_library(library_of(path), path)
    file = config_file(path)
    cfg = read_config_file(file)
    options = dict(options)
    root = options.pop('data_root', None)
    for key in options:
        if key.startswith('model.backbone.init_cfg'):
            raise UserError(
                f'--cfg-options {key}: a file to start from is given by pretrained=FILE',
                key=key,
                value=options[key],
            )
    merge_options(cfg, options, KEYS, helpers=cfg._cfg_dict)
    if options.get('pretrained') and cfg.get('load_from'):
        raise UserError(
            f'pretrained={options["pretrained"]} fills the backbone and load_from='
            f'{cfg.load_from} the whole model: give one of them',
            key='pretrained',
            value=options['pretrained'],
        )
    if root is not None:
        move_data(cfg, str(root))
    import_custom(cfg.get('custom_imports'), [file])
    check_model(cfg, str(library_of(path)))
    return cfg


def require_library(library: str | None, path: str) -> None:
    """Import a library and mmcv's operators.

    Raises UserError, with the command that installs them, when one cannot be imported.
    """
    for name in ('mmcv', 'mmcv.ops', library or 'mmengine'):
        try:
            importlib.import_module(name)
        except (ImportError, AssertionError) as error:  # an assertion: versions do not fit
            reason = ' '.join(str(error).split())
            raise UserError(
                f'{path}: is for {library}, but {name} cannot be imported here ({reason}); '
                'install it by: make install-all',
                key=name,
                value=None,
            ) from None


def check_model(cfg: Config, library: str) -> None:
    """Check the types and arguments of the model's parts, and that ``init_cfg`` names a file.

    Raises UserError for an unknown type or argument, or an ``init_cfg`` without a checkpoint.
    """
    with MODELS.switch_scope_and_registry(library) as known:
        for name, part in cfg.model.items():
            for node in part if isinstance(part, list) else [part]:
                if isinstance(node, dict) and 'type' in node:
                    check_call(node, known, str(cfg.filename), ('model', name))
    init = cfg.model.backbone.get('init_cfg')
    if isinstance(init, str) or (
        isinstance(init, dict) and init.get('type') == 'Pretrained' and not init.get('checkpoint')
    ):
        raise UserError(
            f'{cfg.filename}: model.backbone.init_cfg={init} names no checkpoint; take it out and '
            'add --cfg-options pretrained=FILE',
            key='model.backbone.init_cfg',
            value=init,
        )


def revert_mmcv_sync_bn(cfg: Config) -> None:
    """Replace mmcv's SyncBN by BN, in place, without a GPU and in one process, which it needs."""
    if torch.cuda.is_available() and dist.world_size() > 1:
        return
    reverted = 0
    for node in nested_dicts(cfg.model):
        if str(node.get('type')).rpartition('.')[2] == 'MMSyncBN':
            node['type'] = 'BN'
            reverted += 1
    if reverted:
        print_log(
            f'no GPU or one process: {reverted} norm_cfg of MMSyncBN are BN, every process has its '
            'own batch norms',
            logger='current',
            level=logging.WARNING,
        )


def drop_amp_without_gpu(cfg: Config) -> None:
    """Replace mixed by full precision, in place, where there is no GPU."""
    wrapper = cfg.get('optim_wrapper') or {}
    if wrapper.get('type') == 'AmpOptimWrapper' and not torch.cuda.is_available():
        wrapper['type'] = 'OptimWrapper'
        for key in ('loss_scale', 'dtype'):
            wrapper.pop(key, None)
        print_log('no GPU: full precision instead of mixed', logger='current')
