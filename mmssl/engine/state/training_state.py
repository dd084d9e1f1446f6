"""Collect and restore the state of a training run: tensors and plain data."""

import random
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ...checkpoint.file_format import FORMAT
from ...core import dist
from ...core.errors import escaped
from ...core.io import flatten, to_plain, unwrap_model
from ...core.protocols import Method, RankedMemory
from ...version import __version__
from ..fsdp import gathered_on_host, scatter_state
from ..optim.scheduler import ScheduleParam

if TYPE_CHECKING:
    from ..runner import Runner

SHOWN = 30  # settings that differ from those of the file


def _random_states() -> dict[str, Any]:
    """Return every rank's torch, numpy and Python generators, stacked by rank."""
    mine = torch.get_rng_state()
    states: dict[str, Any] = dict(torch=dist.gather(mine[None]))
    if torch.cuda.is_available():
        states['cuda'] = dist.gather(torch.cuda.get_rng_state()[None])
    numpy_state: Any = np.random.get_state()
    states['numpy'] = dist.gather(torch.from_numpy(numpy_state[1].astype(np.int64))[None])
    states['numpy_rest'] = to_plain(numpy_state[2:])
    _, internal, _ = random.getstate()
    states['python'] = dist.gather(torch.tensor(internal)[None])
    return states


def _set_random_states(states: dict[str, Any], seed: int) -> None:
    at = dist.rank()
    if len(states['torch']) != dist.world_size():  # another number of processes: fresh streams
        dist.seed_streams(seed)
        return
    # cloned: torch reads a row of the stack from the beginning of its storage, or crashes
    torch.set_rng_state(states['torch'][at].cpu().clone())
    if torch.cuda.is_available() and 'cuda' in states:
        torch.cuda.set_rng_state(states['cuda'][at].cpu().clone())
    keys = states['numpy'][at].numpy().astype(np.uint32)
    np.random.set_state(('MT19937', keys, *states['numpy_rest']))
    random.setstate((3, tuple(states['python'][at].tolist()), None))


def _classes(runner: 'Runner') -> list[str] | None:
    """Return the names of the classes of the training data, in the order of the labels."""
    names = getattr(runner.train_dataloader.dataset, 'classes', None)  # of data sets with labels
    return list(names) if names else None


def collect(runner: 'Runner') -> dict[str, Any]:
    """Return what continues the run exactly; a collective call, and never inside an update."""
    wrapper, model = runner.optim_wrapper, unwrap_model(runner.model)
    return dict(
        format=FORMAT,
        meta=to_plain(
            dict(
                version=__version__,
                torch=torch.__version__,
                time=time.strftime('%Y-%m-%d %H:%M:%S'),
                config=runner.cfg.filename or '',
                settings=runner.cfg.to_dict(),
                seed=runner.seed,
                model=type(model).__name__,
                run=runner.run_identity,
                classes=_classes(runner),
                export=model.export if isinstance(model, Method) else '',
            )
        ),
        state_dict={k: gathered_on_host(v) for k, v in model.state_dict().items()},
        optimizer=to_plain(wrapper.state_dict(), tensor=gathered_on_host),
        progress=dict(
            iter=runner.iter + runner.train_loop.in_iteration,
            per_epoch=len(runner.train_dataloader),
            batch=runner.train_dataloader.batch_size * dist.world_size(),
            batch_size=runner.batch_size,
            processes=dist.world_size(),
            best=runner.train_loop.best,
        ),
        schedulers=[to_plain(s.state_dict()) for s in runner.param_schedulers or []],
        random=_random_states(),
    )


# settings that say where and how a run is started, not what it computes
ELSEWHERE = (
    *('work_dir', 'resume', 'load_from', 'launcher', 'overwrite', 'filename', 'log_level'),
    'experiment_name',
)


def _tell_changes(runner: 'Runner', before: dict[str, Any]) -> None:
    """Log each setting that differs from the file's; those of now act."""
    then, now = flatten(before), flatten(to_plain(runner.cfg.to_dict()))
    keys = [k for k in sorted({*then, *now}) if k.partition('.')[0] not in ELSEWHERE]
    lines = []
    for key in keys:
        # as Python writes it: text of a file may hold anything
        old, new = (repr(s[key]) if key in s else 'nothing' for s in (then, now))
        if old != new:
            lines.append(escaped(f'resuming with {key}={new}; the file was written with {old}'))
    for line in lines[:SHOWN]:
        runner.logger.warning(line)
    if len(lines) > SHOWN:
        runner.logger.warning(f'resuming with {len(lines) - SHOWN} more settings that differ')


def _reorder(model: Any, progress: dict[str, Any]) -> None:
    """Let memories whose layout depends on the number of processes take the new one's."""
    before = progress['processes']
    if before == dist.world_size():
        return
    for module in model.modules():
        if isinstance(module, RankedMemory):
            module.reorder(progress['batch'], before, dist.world_size())


def restore(runner: 'Runner', content: dict[str, Any]) -> None:
    """Put a run back to where `collect` saw it; the file is checked (`training_fit.check_fit`)."""
    model, progress = unwrap_model(runner.model), content['progress']
    runner.run_identity = content['meta']['run']
    _tell_changes(runner, content['meta']['settings'])
    own = model.state_dict()
    model.load_state_dict(
        {k: scatter_state(v, own.get(k)) for k, v in content['state_dict'].items()}
    )
    runner.optim_wrapper.load_state_dict(content['optimizer'])
    _reorder(model, progress)
    runner.train_loop.seek(progress['iter'])
    runner.train_loop.best = progress['best']
    runner.train_loop.resumed = True
    for scheduler, state in zip(runner.param_schedulers or [], content['schedulers'], strict=True):
        if isinstance(scheduler, ScheduleParam):
            scheduler.seek(progress['iter'])  # by the config of now
        else:
            scheduler.load_state_dict(state)
    fresh = (runner.seed or 0) + 1_000_003 * progress['iter']
    _set_random_states(content['random'], fresh)
