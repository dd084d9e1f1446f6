"""Continue a run of an official program from its training file."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.distributed.fsdp import FSDPModule

from ...checkpoint import load, read
from ...checkpoint.layouts import detect
from ...checkpoint.load import epochs_done
from ...checkpoint.optimizer_state import fill_optimizer, stored_state
from ...core import UserError, dist
from ...core.io import unwrap_model
from ...core.protocols import RankedMemory
from ..optim.scheduler import ScheduleParam
from .training_fit import refuse, state_differences
from .training_schema import check_scaler
from .work_dir_files import NotTraining

if TYPE_CHECKING:
    from ..runner import Runner

SCALERS = ('fp16_scaler', 'scaler')  # names of the loss scaler's state
QUEUE = 'queue{}.pth'  # SwAV's program keeps the queue of each process beside the file


def restore_official(runner: 'Runner', path: str | Path) -> None:
    """Load an official training file, with its optimizer, and go to the epoch that it has reached.

    Schedules and momentum go on by the config; random generators start anew, as no program
    saves its own. Raises NotTraining for a file without optimizer or epoch, and UserError for
    another network, another schedule type, and a file past the end of the training.
    """
    model, content = unwrap_model(runner.model), read(path)
    if isinstance(model, FSDPModule):
        raise UserError(
            f'{path}: an official file is resumed with DDP; save, and go on with FullyShard from '
            'the training file',
            key='model_wrapper_cfg.type',
            value='FullyShard',
        )
    layout, _ = detect(content, str(path), 'auto', model.state_dict())
    epoch = epochs_done(content, layout.epochs_ahead)
    if content.get('optimizer') is None or epoch is None or layout.order is None:
        raise NotTraining(
            f'{path}: holds no training state of mmssl, and no optimizer of a known program '
            f'({layout.name}), so it cannot be resumed; to start from its weights use '
            f'--cfg-options load_from={path}',
            key='file',
            value=str(path),
        )
    optimizer = runner.optim_wrapper.optimizer
    stored = stored_state(model, content, layout)
    refuse(state_differences(stored, optimizer, model), str(path))
    scaler = next((content[name] for name in SCALERS if content.get(name)), None)
    if scaler is not None and runner.optim_wrapper.scaler.is_enabled():
        check_scaler(scaler, str(path))
    seek(runner, path, epoch, 'resume')
    report = load(model, path, verbose=False)
    _check_whole(report, path)
    fill_optimizer(optimizer, model, stored)
    if scaler is not None and runner.optim_wrapper.scaler.is_enabled():
        runner.optim_wrapper.scaler.load_state_dict(scaler)
    _fill_queue(runner, Path(path))
    dist.seed_streams((runner.seed or 0) + 1_000_003 * runner.iter)
    runner.logger.info(
        f'resumed {path}, of the official {layout.name} program, at epoch {epoch}: '
        f'{len(report.matched)} tensors, the optimizer state of {len(stored)}; '
        'random numbers start anew'
    )


def seek(runner: 'Runner', path: str | Path, epoch: int, key: str) -> None:
    """Go to the epoch that a file has reached, counted from 0, with loop and schedules.

    Raises UserError for a file past the end of the training and, for ``key``, for schedulers of
    another library, which cannot go there.
    """
    if not 0 <= epoch < runner.max_epochs:
        raise UserError(
            f'{path}: has {epoch} epochs behind it, and training ends at '
            f'train_cfg.max_epochs={runner.max_epochs}; raise it, or take an earlier file',
            key='file',
            value=str(path),
        )
    runner.train_loop.seek(epoch * len(runner.train_dataloader))
    for scheduler in runner.param_schedulers or []:
        if not isinstance(scheduler, ScheduleParam):
            raise UserError(
                f'{key}: param_scheduler of type {type(scheduler).__name__} cannot begin in the '
                "middle; use type='ScheduleParam'",
                key=key,
                value=True,
            )
        scheduler.seek(runner.iter)


def _check_whole(report: Any, path: str | Path) -> None:
    """Refuse a file that does not hold all of the method. Raises UserError."""
    lost = [key for key in report.missing if not key.endswith('.memory.bank')]
    lost += report.mismatched
    if lost:
        raise UserError(
            f'{path}: lacks {len(lost)} tensors of this method ({", ".join(lost[:3])}), so it '
            'cannot be resumed; check that the config names the same method, network and heads',
            key='file',
            value=str(path),
        )


@torch.no_grad()
def _fill_queue(runner: 'Runner', path: Path) -> None:
    """Fill SwAV's queue from the files beside an official one, or say that it starts empty."""
    model = unwrap_model(runner.model)
    memories = [module for module in model.modules() if isinstance(module, RankedMemory)]
    for memory in memories:
        files = [path.with_name(QUEUE.format(rank)) for rank in range(dist.world_size())]
        if not all(file.is_file() for file in files):
            runner.logger.warning(
                f'{files[0].name} is not beside {path.name}: the queue starts empty, and is used '
                'again once it is full'
            )
            continue
        memory.fill(torch.cat([_queue(file) for file in files], 1))


def _queue(file: Path) -> torch.Tensor:
    """Return the rows (A, L/W, D) of one process's queue. Raises UserError for anything else."""
    rows = read(file).get('queue')
    if (
        not isinstance(rows, torch.Tensor)
        or rows.ndim != 3
        or not rows.is_floating_point()
        or not bool(rows.isfinite().all())
    ):
        raise UserError(
            f"{file}: holds no queue of SwAV's program, which is a tensor (crops, rows, width) of "
            'finite numbers; remove it to start with an empty queue',
            key='file',
            value=str(file),
        )
    return rows
