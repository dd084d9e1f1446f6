"""Replay a recorded run through the runner."""

import copy
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.dist import is_distributed
from torch import Tensor

from ..config.defaults import DEFAULTS
from ..config.stored_settings import check_types
from ..core import UserError, dist
from ..core.launch import init_distributed
from ..core.precision import read_dtype
from ..engine import Runner
from ..engine.state import work_dir_files
from .compare import Comparison, compare
from .record_file import Record, read_record
from .trace import Trace, TraceHook

# what decides the steps of a run; files, monitors and reports are left out
SETTINGS = (
    *('model', 'optim_wrapper', 'param_scheduler', 'train_cfg', 'randomness', 'auto_scale_lr'),
    *('sync_bn', 'dtype', 'find_unused_parameters', 'model_wrapper_cfg', 'compile'),
)
NEEDED_HOOKS = ('runtime_info', 'timer', 'sampler_seed', 'param_scheduler')


class Enough(Exception):
    """All recorded steps are replayed."""


class ReplayHook(TraceHook):
    """Collect the steps, and end the run after the last one."""

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Add the step. Raises Enough after the last one."""
        super().after_train_iter(runner, batch_idx, data_batch, outputs)
        if self.full:
            raise Enough


def replay(
    path: str | Path,
    *,
    steps: int | None = None,
    limit: float | None = None,
    settings: dict[str, Any] | None = None,
    options: dict[str, Any] | None = None,
    launcher: str = 'none',
) -> Comparison:
    """Replay a recorded run, or its first ``steps``, and compare every step.

    ``settings`` take the place of the recorded ones, ``options`` ({'a.b': value}) are merged last.
    Without a ``limit`` that of the coarser type of both runs holds. Raises UserError for a file
    that is no record, for recorded settings that name classes of others, and for numbers of
    processes that do not share out its batch.
    """
    record = read_record(path)
    cfg = configuration(record, path, settings)
    cfg.merge_from_dict(options or {})
    cfg.launcher = launcher
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        trace = run(record, cfg, Path(folder), steps)
    types = {precision(record.start['meta']['settings']), precision(cfg)}
    coarsest = next(t for t in ('bfloat16', 'float16', 'float32', 'float64') if t in types)
    return compare(record.trace, trace, coarsest, limit)


def precision(settings: Any) -> str:
    """Return the coarsest type that the settings of a run compute in."""
    amp = (settings.get('optim_wrapper') or {}).get('amp')
    return str(amp or settings.get('dtype') or 'float32')


def configuration(record: Record, path: str | Path, settings: dict[str, Any] | None) -> Config:
    """Return the config of a replay, of the recorded settings or of others.

    Raises UserError for recorded settings that name a class which is not in our registries: a
    file could else name any function of any library.
    """
    if settings is None:
        settings = record.start['meta']['settings']
        used = {key: settings.get(key) for key in SETTINGS}
        check_types(used, path, 'give --config CONFIG, whose classes you trust')
    defaults = copy.deepcopy(DEFAULTS)
    hooks = {k: v if k in NEEDED_HOOKS else None for k, v in defaults['default_hooks'].items()}
    loader = dict(
        num_workers=0,
        drop_last=True,
        sampler=dict(type='EpochSampler', shuffle=False, even=True),
        dataset=dict(type='RecordedViews', file=str(path)),
    )
    kept = {key: settings[key] for key in SETTINGS if settings.get(key) is not None}
    kept['train_cfg'] = dict(kept['train_cfg'], val_at_start=False)
    given = dict(train_dataloader=loader, default_hooks=hooks, log_level='ERROR')
    return Config(defaults | kept | given)


def _in_dtype(start: dict[str, Any], dtype: torch.dtype) -> dict[str, Any]:
    """Return a training file's content with weights and optimizer state of a floating type.

    A training file fits runs of its own type only; a replay compares types.
    """

    def cast(name: str, value: Any) -> Any:
        floating = isinstance(value, Tensor) and value.is_floating_point()
        return value.to(dtype) if floating and name != 'step' else value

    states = start['optimizer']['optimizer']['state']
    optimizer = start['optimizer']['optimizer'] | dict(
        state={i: {k: cast(k, v) for k, v in entry.items()} for i, entry in states.items()}
    )
    weights = {
        key: {name: cast(name, value) for name, value in start[key].items()}
        for key in ('state_dict', 'ema_state_dict')
        if key in start
    }
    return start | weights | dict(optimizer=start['optimizer'] | dict(optimizer=optimizer))


def run(record: Record, cfg: Config, folder: Path, steps: int | None = None) -> Trace:
    """Train the recorded steps from the recorded state on, and return what was computed.

    Raises UserError when the batch cannot be shared out.
    """
    if cfg.launcher != 'none' and not is_distributed():
        init_distributed(cfg.launcher)
    if record.images % dist.world_size():
        raise UserError(
            f'the recorded batch of {record.images} images cannot be shared by '
            f'{dist.world_size()} processes; start a number of processes that divides it',
            key='batch',
            value=record.images,
        )
    cfg.train_dataloader.batch_size = record.images // dist.world_size()
    start = folder / f'start_{dist.rank()}.pth'
    work_dir_files.write(_in_dtype(record.start, read_dtype(cfg.get('dtype'))), start)
    work_dir = str(folder / f'run_{dist.rank()}')
    # mmengine keeps one logger for each name of an experiment
    cfg.update(work_dir=work_dir, experiment_name=work_dir, resume=True, load_from=str(start))
    runner = Runner.from_cfg(cfg)
    hook = ReplayHook(steps=min(steps or len(record.trace), len(record.trace)))
    runner.register_hook(hook)
    with suppress(Enough):
        runner.train()
    return hook.trace
