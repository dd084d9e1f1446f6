"""Check parts of mmengine and torch that a config puts in the place of ours, before building.

Runners, hooks and loops of mmengine save files that do not resume exactly, or move no teacher.
"""

from typing import Any

from mmengine.config import Config

from ..core import UserError

# place -> what may stand there; other types are refused
LOOPS = ('EpochLoop', 'EpochBasedTrainLoop')  # the second name is mmengine's for the same
WRAPPERS = ('OptimWrapper',)
CHECKPOINT_HOOKS = ('CheckpointHook',)
MMENGINE_ONLY = ('mmengine.CheckpointHook',)
# data sets around others than ours: views are made inside, and an index alone would not tell the
# epoch
AROUND = ('ConcatDataset', 'RepeatDataset', 'ClassBalancedDataset')


def check_replaced_parts(cfg: Config) -> None:
    """Check the loop, the optimizer wrapper, hooks and data sets of a training config.

    Raises UserError for a part that cannot take the place of ours, naming what to use.
    """
    if cfg.get('train_cfg') is None:
        return
    _check_type(cfg, 'train_cfg', LOOPS, 'other loops count no epochs that a run could resume')
    if cfg.get('optim_wrapper') is not None:
        amp = "amp='float16' or 'bfloat16' of it is mixed precision"
        _check_type(cfg, 'optim_wrapper', WRAPPERS, amp)
    hooks = cfg.get('default_hooks') or {}
    if hooks.get('checkpoint') is not None:
        only = 'its files hold all that a run needs to resume'
        _check_type(hooks, 'checkpoint', CHECKPOINT_HOOKS, only, 'default_hooks.checkpoint')
    for i, hook in enumerate(cfg.get('custom_hooks') or ()):
        kind = hook.get('type') if isinstance(hook, dict) else None
        if kind in MMENGINE_ONLY:
            raise UserError(
                f"custom_hooks.{i}.type='{kind}': its files do not resume exactly, and ours are "
                'written by default_hooks.checkpoint; leave it out',
                key=f'custom_hooks.{i}.type',
                value=kind,
            )
    off = 'param_scheduler' in hooks and hooks['param_scheduler'] is None
    if off and cfg.get('param_scheduler'):
        raise UserError(
            'default_hooks.param_scheduler=None leaves every schedule at its start; to train '
            'without schedules give param_scheduler=[]',
            key='default_hooks.param_scheduler',
            value=None,
        )
    for name in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        _check_dataset(cfg.get(name), f'{name}.dataset')


def _check_type(parent: Any, key: str, known: tuple[str, ...], why: str, place: str = '') -> None:
    """Refuse a part whose ``type`` is missing or not of the ``known`` ones; classes pass."""
    kind = parent[key].get('type') if isinstance(parent[key], dict) else None
    if isinstance(kind, type) or kind in known:
        return
    # a scope in front of the name picks another library's class
    name = f'{place or key}.type'
    given = 'is missing' if kind is None else f"'{kind}' does not work here"
    raise UserError(f"{name} {given}: use type='{known[0]}'; {why}", key=name, value=kind)


def _check_dataset(loader: Any, place: str) -> None:
    dataset = loader.get('dataset') if isinstance(loader, dict) else None
    kind = dataset.get('type') if isinstance(dataset, dict) else None
    if isinstance(kind, str) and kind.rpartition('.')[2] in AROUND:
        raise UserError(
            f"{place}.type='{kind}': it is offered around data sets of type='ImageDataset'; give "
            'these, or ImageDataset with a ConcatSource',
            key=f'{place}.type',
            value=kind,
        )
