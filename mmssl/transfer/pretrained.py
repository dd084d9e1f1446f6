"""Load any pretraining file into the backbone of a detector or segmentor, and check the fit."""

import logging
from pathlib import Path
from typing import Any, NamedTuple

import torch
from mmengine.config import Config, ConfigDict
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.registry import MODELS, DefaultScope
from mmengine.runner import Runner, find_latest_checkpoint
from torch import Tensor

from ..checkpoint import local_path, save
from ..checkpoint.content_hash import digest
from ..checkpoint.export import export, network, unfit
from ..checkpoint.fit import Misfit, advice, compare, describe, some
from ..checkpoint.layouts import LAYOUTS
from ..checkpoint.matching import COMPUTED
from ..config import pretrained
from ..core import UserError, dist
from ..core.io import unwrap_model
from ..zoo.hub import published
from .network_settings import match_settings

State = dict[str, Tensor]
# how mmdet and mmseg name the tensors of their networks
LIBRARY_LAYOUTS = ('mmdet', 'mmseg', 'torchvision')


class Start(NamedTuple):
    """Weights that a backbone must hold before the first step: log line, names and hash."""

    line: str
    names: list[str]
    digest: str


def start_from(cfg: Config, library: str) -> Start | None:
    """Point the config's backbone to its ``pretrained``: a file of any layout, address or name.

    A backbone of the library's gets a converted file in the work dir (route a), one of ours
    reads the file itself (route b). Returns None for ``pretrained='random'`` and where a whole
    model is loaded. Raises UserError when no start is given, and when the network is another.
    """
    model = cfg.model
    backbone = model.backbone
    default = (backbone.get('init_cfg') or {}).get('checkpoint') or model.get('pretrained')
    source = cfg._cfg_dict.pop('pretrained', None) or default
    if 'pretrained' in model:
        model.pretrained = None
    backbone.init_cfg = None
    # resuming from a folder without checkpoints, mmengine would start from random weights
    if cfg.get('load_from') or (cfg.get('resume') and find_latest_checkpoint(cfg.work_dir)):
        return None
    if source is None:
        raise UserError(
            f'{cfg.filename}: its backbone would start from random weights: add --cfg-options '
            'pretrained=FILE (any self-supervised checkpoint), or pretrained=random for that',
            key='pretrained',
            value=None,
        )
    if source == 'random':
        print_log('the backbone starts from random weights (pretrained=random)', logger='current')
        return None
    info = published(source)
    if info is None:
        pretrained.require_file(source)
    path = local_path(source) if info is None else info.fetch()
    found = network(path, branch='export' if info is None else info.branch)
    for note in found.notes:
        print_log(f'{path}: {note}', logger='current', level=logging.WARNING)
    match_settings(found, cfg, str(path))
    origin = f'{path} ({found.layout}, {found.branch} branch)'
    target = 'mmssl' if str(backbone.type).startswith('mmssl.') else library
    if reason := unfit(found.state, target):
        raise UserError(
            f"{origin}: does not fit {library}'s {backbone.type}: {reason}; take a backbone of "
            'ours: python tools/model_converters/extract_backbone.py FILE OUT prints its lines',
            key='file',
            value=str(path),
        )
    exported = export(found.state, target)
    for note in exported.notes:
        print_log(f'{path}: {note}', logger='current')
    file = Path(cfg.work_dir) / 'pretrained' / f'{Path(path).stem}-{library}.pth'
    dist.call_on_rank_zero(lambda: save.write({'state_dict': exported.state}, file))
    backbone.init_cfg = ConfigDict(type='Pretrained', checkpoint=str(file))
    state = {key.removeprefix('backbone.'): value for key, value in exported.state.items()}
    return _fill_and_compare(backbone, library, state, str(path), origin)


def _fill_and_compare(
    backbone: dict[str, Any], library: str, state: State, path: str, origin: str
) -> Start:
    """Build and fill the backbone once, and compare it with the file, before anything else.

    ``state`` are the tensors (any shapes) of the file at ``path`` by the backbone's names. Raises
    UserError when it holds another network, or when the backbone does not take its tensors.
    """
    with DefaultScope.overwrite_default_scope(library):
        net = MODELS.build(backbone)
    target = net.state_dict()
    _check_fit(state, target, backbone, library, path, origin)
    net.init_weights()
    filled = net.state_dict()
    names = [key for key in state if key in filled]
    for key in names:
        value = filled[key]
        if state[key].shape == value.shape and not torch.equal(state[key].to(value.dtype), value):
            raise UserError(
                f'{origin}: {library} did not take {key} from the converted file; check that the '
                f"config's {backbone['type']} loads its init_cfg unchanged",
                key=key,
                value=None,
            )
    line = f'backbone: {len(names)} of {len(names)} tensors of {origin}, 0 missing, 0 unexpected'
    new = [key for key in target if key not in state and not COMPUTED.search(key)]
    left = [key for key in state if key not in target]
    for word, keys in (('new', new), ('left out', left)):
        if keys:
            line += f', {len(keys)} {word} ({some(keys)})'
    return Start(line, names, digest({key: filled[key] for key in names}))


def _check_fit(
    state: State, target: State, backbone: dict[str, Any], library: str, path: str, origin: str
) -> None:
    """Compare a file's tensors (any shapes) with a backbone's as `load` does, by our names."""
    given = _by_our_names(state)
    wanted = _by_our_names(target)
    ours = str(backbone['type']).startswith('mmssl.')
    tables = [names['net.pos_embed'] for names in (given, wanted) if 'net.pos_embed' in names]
    if len(tables) == 2 and tables[0].shape[-1] == tables[1].shape[-1]:
        wanted['net.pos_embed'] = tables[0]  # a ViT resizes it while loading
    _, found = compare(given, wanted)
    if found:
        raise UserError(
            f"{origin}: does not fit the config's {backbone['type']}: "
            f'{describe(found, given, wanted)}; {_advice(found, given, wanted, ours, library)}',
            key='file',
            value=path,
        )


def _by_our_names(state: State) -> State:
    """Return a backbone's tensors (any shapes) by our names, ``net.*``."""
    if any(key.startswith('net.') for key in state):
        return dict(state)
    for name in LIBRARY_LAYOUTS:
        if LAYOUTS[name].find({'state_dict': state}) is not None:
            # as it is: the lone norm of a network of one map is no classifier's
            ours, _ = LAYOUTS[name].translate(state)
            return {key.removeprefix('backbone.'): value for key, value in ours.items()}
    return {f'net.{key}': value for key, value in state.items()}


def _advice(found: Misfit, given: State, wanted: State, ours: bool, library: str) -> str:
    """Return what to change in the config."""
    if any('beyond' in reason for reason in found.mismatched.values()):
        return advice(found, given, wanted)
    if any(key.startswith('net.stem.') for key in found.missing):
        return 'set model.backbone.type=ResNet, which begins with one convolution of 7x7'
    if ours:
        return advice(found, given, wanted).replace('set ', 'set model.backbone.', 1)
    return f'python tools/model_converters/selfsup2{library}.py FILE OUT prints the lines that fit'


class PretrainHook(Hook):
    """Hook that checks, before training, that the backbone still has its pretrained weights."""

    def __init__(self, start: Start) -> None:
        self.start = start

    def before_train(self, runner: Runner) -> None:
        """Compare the hash of the backbone's tensors with that after loading, and log the load.

        Raises UserError when the weights were lost.
        """
        model = unwrap_model(runner.model)
        state = model.backbone.state_dict()
        if digest({key: state[key] for key in self.start.names}) != self.start.digest:
            raise UserError(
                'pretrained: the backbone lost its weights before the first step; take out what '
                'fills it again, such as a custom hook or an init_cfg of the model',
                key='pretrained',
                value=None,
            )
        runner.logger.info(self.start.line)
