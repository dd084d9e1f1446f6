"""Load any pretraining file into the backbone of a detector or segmentor, and check the fit."""

import re
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
from ..checkpoint.architecture import family
from ..checkpoint.content_hash import digest
from ..checkpoint.export import Network, export, network
from ..checkpoint.hyperparameters import METHODS
from ..config import pretrained
from ..core import UserError, dist
from ..core.io import unwrap_model
from ..models.backbones.vit import ARCHS
from ..zoo.hub import published
from .network_settings import norm_eps, num_heads

State = dict[str, Tensor]
MAY_BE_MISSING = re.compile(r'norm\d\.')  # norms of Swin's outputs, not pretrained
MAY_BE_UNUSED = re.compile(r'ln1\.|mask_token$')  # last norm of a ViT without final_norm
# layouts that say whose method they are, so that the number of heads is known
METHOD_LAYOUTS = {layout for layouts in METHODS.values() for layout in layouts}


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
    match_settings(found, backbone, str(path))
    ours = str(backbone.type).startswith('mmssl.')
    exported = export(found.state, 'mmssl' if ours else library)
    for note in exported.notes:
        print_log(f'{path}: {note}', logger='current')
    file = Path(cfg.work_dir) / 'pretrained' / f'{Path(path).stem}-{library}.pth'
    dist.call_on_rank_zero(lambda: save.write({'state_dict': exported.state}, file))
    backbone.init_cfg = ConfigDict(type='Pretrained', checkpoint=str(file))
    state = {key.removeprefix('backbone.'): value for key, value in exported.state.items()}
    return _fill_and_compare(
        backbone, library, state, str(path), f'{found.layout}, {found.branch} branch'
    )


def match_settings(found: Network, backbone: dict[str, Any], path: str) -> None:
    """Set the norms' epsilon of the file's method; tensors do not state it.

    Raises UserError for a ViT with another number of heads, which tensors do not state either.
    """
    kind = family(found.state)
    if kind not in ('vit', 'swin'):
        return
    eps = norm_eps(found)
    if str(backbone['type']).startswith('mmssl.'):
        backbone.setdefault('norm_eps', eps)
    else:
        backbone['norm_cfg'] = dict(type='LN', eps=eps) | dict(backbone.get('norm_cfg') or {})
    if kind == 'vit' and (found.settings or found.layout in METHOD_LAYOUTS):
        arch, wanted = backbone.get('arch'), backbone.get('num_heads')
        if wanted is None and arch is not None:
            wanted = (ARCHS[arch] if isinstance(arch, str) else arch)[2]
        if wanted is not None and wanted != num_heads(found):
            raise UserError(
                f"{path}: its ViT has {num_heads(found)} heads, the config's {wanted}; add "
                f'--cfg-options model.backbone.num_heads={num_heads(found)}',
                key='model.backbone.num_heads',
                value=wanted,
            )


def _fill_and_compare(
    backbone: dict[str, Any], library: str, state: State, path: str, taken: str
) -> Start:
    """Build and fill the backbone once, and compare it with the file, before anything else.

    ``taken`` is the layout and branch that ``state`` has from the file at ``path``. Raises
    UserError when tensors are missing, unexpected, of another shape, or not taken.
    """
    origin = f'{path} ({taken})'
    with DefaultScope.overwrite_default_scope(library):
        net = MODELS.build(backbone)
    target = net.state_dict()
    names = [key for key in state if key in target]
    unused = [key for key in state if key not in target]
    new = [key for key in target if key not in state]
    wrong = [key for key in unused if not MAY_BE_UNUSED.match(key)]
    wrong += [key for key in new if not MAY_BE_MISSING.match(key)]
    wrong += [key for key in names if not _same_shape(key, state[key], target[key])]
    if wrong:
        raise UserError(
            f"{origin}: does not fit the config's {backbone['type']}, {len(wrong)} tensors are "
            f'missing, unexpected or of another shape ({wrong[0]}, ...); see what the file holds: '
            f'python tools/model_converters/selfsup2{library}.py FILE OUT',
            key='file',
            value=path,
        )
    net.init_weights()
    filled = net.state_dict()
    for key in names:
        if state[key].shape == filled[key].shape and not torch.equal(state[key], filled[key]):
            raise UserError(
                f'{origin}: {library} did not take {key} from the converted file; check that the '
                f"config's {backbone['type']} loads its init_cfg unchanged",
                key=key,
                value=None,
            )
    line = f'backbone: {len(names)} of {len(names)} tensors of {origin}, 0 missing, 0 unexpected'
    if new:
        line += f', {len(new)} new ({", ".join(new[:3])}, ...)'
    return Start(line, names, digest({key: filled[key] for key in names}))


def _same_shape(key: str, ours: Tensor, theirs: Tensor) -> bool:
    """Whether shapes agree; mmseg's ViT resizes positions itself."""
    resized = key == 'pos_embed' and ours.shape[-1] == theirs.shape[-1]
    return resized or ours.shape == theirs.shape


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
