"""Arguments of official codes read from a config of ours, to compare it with a file's."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from mmengine.config import Config

from ..core.io import flatten, to_plain

BIG = 224  # px, crops of the teacher


class Compared(NamedTuple):
    """One setting: its name in the file, what the config says, what the file says."""

    name: str
    config: Any
    file: Any

    @property
    def equal(self) -> bool:
        """Whether both say the same; numbers to nine digits."""
        return _same(self.config, self.file)


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(map(_same, one, other))
    numbers = (int, float)
    if isinstance(one, numbers) and isinstance(other, numbers):
        return abs(one - other) <= 1e-9 * max(abs(one), abs(other))
    return bool(one == other)


def _views(cfg: Config) -> list[dict[str, Any]]:
    transforms = cfg.train_dataloader.dataset.pipeline
    multi: dict[str, Any] = next((t for t in transforms if t.get('type') == 'MultiView'), {})
    return [v for view in multi.get('views', ()) for v in [view] * view.get('repeat', 1)]


def _mask(cfg: Config) -> dict[str, Any]:
    transforms = cfg.train_dataloader.dataset.pipeline
    return next((t.mask for t in transforms if t.get('mask')), {})


def _schedule(cfg: Config, name: str) -> dict[str, Any]:
    return next(s for s in cfg.param_scheduler if s.param_name == name)


def _rule(cfg: Config, key: str) -> Any:
    rules = cfg.optim_wrapper.paramwise_cfg.rules
    return next((r[key] for r in rules if key in r), 0)


def _span(cfg: Config, big: bool) -> Any:
    scales = [v.get('scale') for v in _views(cfg) if (v.get('size', BIG) >= BIG) == big]
    return scales[0] if scales else None


def _clip(cfg: Config) -> float:
    return float((cfg.optim_wrapper.get('clip_grad') or {}).get('max_norm', 0.0))


def _patch_temp(cfg: Config) -> dict[str, Any]:
    found: dict[str, Any] = cfg.model.get('teacher_patch_temp') or cfg.model.teacher_temp
    return found


# main_dino.py, main_esvit.py, main_ibot.py and SERE's; a name that a config has no value for is
# left out. Rates are for 256 images.
ARGUMENTS: dict[str, Callable[[Config], Any]] = {
    'epochs': lambda c: c.train_cfg.max_epochs,
    'batch_size_per_gpu': lambda c: c.train_dataloader.batch_size,
    'lr': lambda c: c.optim_wrapper.optimizer.lr * 256 / c.auto_scale_lr.base_batch_size,
    'min_lr': lambda c: _schedule(c, 'lr')['final'],
    'warmup_epochs': lambda c: _schedule(c, 'lr').get('warmup', 0),
    'optimizer': lambda c: c.optim_wrapper.optimizer.type.lower(),
    'weight_decay': lambda c: c.optim_wrapper.optimizer.weight_decay,
    'weight_decay_end': lambda c: _schedule(c, 'weight_decay')['final'],
    'clip_grad': _clip,
    'freeze_last_layer': lambda c: _rule(c, 'frozen_epochs'),
    'use_fp16': lambda c: bool(c.optim_wrapper.get('amp')),
    'momentum_teacher': lambda c: c.model.momentum.start,
    'teacher_temp': lambda c: c.model.teacher_temp.start,
    'warmup_teacher_temp': lambda c: c.model.teacher_temp.get(
        'warmup_start', c.model.teacher_temp.start
    ),
    'warmup_teacher_temp_epochs': lambda c: c.model.teacher_temp.get('warmup', 0),
    'teacher_patch_temp': lambda c: _patch_temp(c)['start'],
    'warmup_teacher_patch_temp': lambda c: _patch_temp(c)['warmup_start'],
    'norm_last_layer': lambda c: not c.model.neck.get('train_scale', True),
    'use_bn_in_head': lambda c: c.model.neck.get('hidden_norm', False),
    'out_dim': lambda c: c.model.neck.prototypes,
    'patch_out_dim': lambda c: c.model.neck.get('patch_prototypes') or c.model.neck.prototypes,
    'shared_head': lambda c: c.model.neck.get('shared', False),
    'use_dense_prediction': lambda c: c.model.type == 'EsViT',
    'drop_path_rate': lambda c: c.model.backbone.get('drop_path_rate', 0.0),
    'drop_path': lambda c: c.model.backbone.get('drop_path_rate', 0.0),
    'global_crops_scale': lambda c: _span(c, big=True),
    'local_crops_scale': lambda c: _span(c, big=False),
    'local_crops_number': lambda c: sum(v.get('size', BIG) < BIG for v in _views(c)),
    'pred_ratio': lambda c: _mask(c)['ratio'],
    'pred_ratio_var': lambda c: _mask(c)['var'],
    'pred_shape': lambda c: _mask(c).get('shape', 'block'),
    'pred_start_epoch': lambda c: _mask(c).get('start_epoch', 0),
    'alpha': lambda c: c.model.relation.alpha,
    'beta': lambda c: c.model.relation.beta,
    'overlap_size': lambda c: c.model.relation.overlap_size,
    # MoBY's config, whose rates are written scaled by the run's batch
    'TRAIN.EPOCHS': lambda c: c.train_cfg.max_epochs,
    'TRAIN.WARMUP_EPOCHS': lambda c: _schedule(c, 'lr').get('warmup', 0),
    'TRAIN.WEIGHT_DECAY': lambda c: c.optim_wrapper.optimizer.weight_decay,
    'TRAIN.CLIP_GRAD': _clip,
    'DATA.BATCH_SIZE': lambda c: c.train_dataloader.batch_size,
    'MODEL.MOBY.ONLINE_DROP_PATH_RATE': lambda c: c.model.backbone.get('drop_path_rate', 0.0),
    'MODEL.MOBY.CONTRAST_MOMENTUM': lambda c: c.model.momentum.start,
    'MODEL.MOBY.CONTRAST_TEMPERATURE': lambda c: c.model.head.temperature,
    'MODEL.MOBY.CONTRAST_NUM_NEGATIVE': lambda c: c.model.queue_length,
}


def compare_arguments(cfg: Config, arguments: Mapping[str, Any]) -> list[Compared]:
    """Compare a config with the arguments of an official run, in the order of `ARGUMENTS`."""
    found = []
    for name, read in ARGUMENTS.items():
        if name not in arguments:
            continue
        try:
            ours = read(cfg)
        except (AttributeError, KeyError, StopIteration):
            continue  # another method's argument
        theirs = arguments[name]
        if name == 'local_crops_number' and isinstance(theirs, (list, tuple)):
            theirs = sum(theirs)  # EsViT counts each size
        found.append(Compared(name, ours, 0.0 if name == 'clip_grad' and not theirs else theirs))
    return found


def compare_settings(cfg: Config, settings: Mapping[str, Any]) -> list[Compared]:
    """Compare a config with the settings of a run of ours: what either names, by its path."""
    own = flatten(to_plain(cfg.to_dict()))
    names = sorted(own.keys() | settings.keys())
    return [Compared(name, own.get(name), settings.get(name)) for name in names]
