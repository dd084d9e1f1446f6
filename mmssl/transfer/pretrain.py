"""Any pretraining file under the backbone of a detector, never silently."""

import re
from pathlib import Path
from typing import Any, NamedTuple

import torch
from mmengine.config import Config, ConfigDict
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.registry import MODELS, DefaultScope
from mmengine.runner import find_latest_checkpoint
from torch import Tensor

from ..apis import encoder
from ..apis.convert import METHODS, norm_eps, num_heads
from ..apis.hub import published
from ..checkpoint import files, local_path
from ..checkpoint.digest import digest
from ..checkpoint.export import Network, export, network
from ..checkpoint.sizes import family
from ..core import UserError, dist
from ..models.backbones.vit import ARCHS

State = dict[str, Tensor]
NEW = re.compile(r'norm\d\.')  # norms of Swin's outputs, which pretraining does not have
SPARE = re.compile(r'ln1\.|mask_token$')  # the last norm of a ViT, where the config drops it
# layouts that say whose method they are, so that the number of heads is known
TOLD = {layout for layouts in METHODS.values() for layout in layouts}


class Start(NamedTuple):
    """What a backbone must hold before the first step: a line to print, names, their hash."""

    line: str
    names: list[str]
    digest: str


def start_from(cfg: Config, library: str) -> Start | None:
    """Point the config's backbone to its ``pretrain``: a file of any layout, address or name.

    A backbone of the library's gets a converted file in the work dir (route a), one of ours
    reads the file itself (route b). Returns None for ``pretrain='random'`` and where a whole
    model is loaded. Raises UserError when nothing is said, and when the network is another.
    """
    backbone, model = cfg.model.backbone, cfg.model
    said = (backbone.get('init_cfg') or {}).get('checkpoint') or model.get('pretrained')
    source = cfg._cfg_dict.pop('pretrain', None) or said
    if 'pretrained' in model:
        model.pretrained = None
    backbone.init_cfg = None
    # asked to resume from a folder without checkpoints, mmengine would begin at random
    if cfg.get('load_from') or (cfg.get('resume') and find_latest_checkpoint(cfg.work_dir)):
        return None
    if source is None:
        raise UserError(
            f'{cfg.filename}: its backbone would start from random weights: add --cfg-options '
            'pretrain=FILE (any self-supervised checkpoint), or pretrain=random if that is meant'
        )
    if source == 'random':
        print_log('the backbone starts from random weights (pretrain=random)', logger='current')
        return None
    info = published(source)
    if info is None:
        encoder.need(source)
    path = local_path(source) if info is None else info.fetch()
    found = network(path, side='export' if info is None else info.side)
    fit_network(found, backbone, str(path))
    ours = str(backbone.type).startswith('mmssl.')
    exported = export(found.state, 'mmssl' if ours else library)
    for note in exported.notes:
        print_log(f'{path}: {note}', logger='current')
    file = Path(cfg.work_dir) / 'pretrain' / f'{Path(path).stem}-{library}.pth'
    if dist.rank() == 0:
        files.write({'state_dict': exported.state}, file)
    dist.wait()  # the others read it
    backbone.init_cfg = ConfigDict(type='Pretrained', checkpoint=str(file))
    state = {key.removeprefix('backbone.'): value for key, value in exported.state.items()}
    return _tried(backbone, library, state, f'{path} ({found.dialect}, {found.side} side)')


def fit_network(found: Network, backbone: dict[str, Any], path: str) -> None:
    """Settle what tensors do not tell: refuse other heads of a ViT, keep the norms' epsilon."""
    kind = family(found.state)
    if kind not in ('vit', 'swin'):
        return
    eps = norm_eps(found)
    if str(backbone['type']).startswith('mmssl.'):
        backbone.setdefault('norm_eps', eps)
    else:
        backbone['norm_cfg'] = dict(type='LN', eps=eps) | dict(backbone.get('norm_cfg') or {})
    if kind == 'vit' and (found.settings or found.dialect in TOLD):
        arch, wanted = backbone.get('arch'), backbone.get('num_heads')
        if wanted is None and arch is not None:
            wanted = (ARCHS[arch] if isinstance(arch, str) else arch)[2]
        if wanted is not None and wanted != num_heads(found):
            raise UserError(
                f"{path}: its ViT has {num_heads(found)} heads, the config's {wanted}; add "
                f'--cfg-options model.backbone.num_heads={num_heads(found)}'
            )


def _tried(backbone: dict[str, Any], library: str, state: State, origin: str) -> Start:
    """Build and fill the backbone once, before anything else, and compare it with the file."""
    with DefaultScope.overwrite_default_scope(library):
        net = MODELS.build(backbone)
    target = net.state_dict()
    names = [key for key in state if key in target]
    spare = [key for key in state if key not in target]
    new = [key for key in target if key not in state]
    wrong = [key for key in spare if not SPARE.match(key)]
    wrong += [key for key in new if not NEW.match(key)]
    wrong += [key for key in names if not _same_shape(key, state[key], target[key])]
    if wrong:
        raise UserError(
            f"{origin}: does not fit the config's {backbone['type']}, {len(wrong)} tensors are "
            f'missing, unexpected or of another shape ({wrong[0]}, ...); see what the file holds: '
            f'python tools/model_converters/selfsup2{library}.py FILE OUT'
        )
    net.init_weights()
    filled = net.state_dict()
    for key in names:
        if state[key].shape == filled[key].shape and not torch.equal(state[key], filled[key]):
            raise UserError(f'{origin}: {library} did not take {key} from the converted file')
    line = f'backbone: {len(names)} of {len(names)} tensors of {origin}, 0 missing, 0 unexpected'
    if new:
        line += f', {len(new)} new ({", ".join(new[:3])}, ...)'
    return Start(line, names, digest({key: filled[key] for key in names}))


def _same_shape(key: str, ours: Tensor, theirs: Tensor) -> bool:
    """Whether shapes agree; mmseg's ViT resizes positions itself."""
    resized = key == 'pos_embed' and ours.shape[-1] == theirs.shape[-1]
    return resized or ours.shape == theirs.shape


class PretrainHook(Hook):
    """Refuses to train a model whose backbone is not what the pretraining file made of it."""

    def __init__(self, start: Start) -> None:
        self.start = start

    def before_train(self, runner: Any) -> None:
        """Compare the backbone with what was tried, bit by bit, and say that it holds."""
        model = getattr(runner.model, 'module', runner.model)
        state = model.backbone.state_dict()
        if digest({key: state[key] for key in self.start.names}) != self.start.digest:
            raise UserError('the backbone lost its pretrained weights before the first step')
        runner.logger.info(self.start.line)
