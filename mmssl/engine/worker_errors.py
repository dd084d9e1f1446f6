"""Errors of loader workers that died or stay silent: which, and while reading which image."""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from torch.utils.data import DataLoader

from ..core import UserError
from ..core.protocols import TracedReads

if TYPE_CHECKING:
    from .runner import Runner

PIDS = re.compile(r'DataLoader worker \(pid(?:\(s\))? ([\d, ]+)\)\s*(.*)', re.DOTALL)
SILENT = re.compile(r'DataLoader timed out after ([\d.]+) seconds')
ADVICE = (
    ('Killed', 'the system ran out of memory: lower num_workers or the batch size'),
    ('Bus error', 'shared memory (/dev/shm) is full: enlarge it or lower num_workers'),
    ('Segmentation', 'a library crashed, maybe on that image: check it alone'),
)
OTHERWISE = 'see the lines above, or run with num_workers=0 for the error itself'


def worker_error(error: RuntimeError, loaders: Iterable[Any]) -> UserError | None:
    """Return the error for a dead or silent worker, or None when it is about something else."""
    loaders = list(loaders)
    if silent := SILENT.search(str(error)):
        return _silent_worker(silent[1], loaders)
    found = PIDS.search(str(error))
    if found is None:
        return None
    pids = [int(pid) for pid in re.findall(r'\d+', found[1])]
    cause = ' '.join(found[2].partition('. ')[0].split()).rstrip('.')
    datasets = [loader.dataset for loader in loaders if isinstance(loader.dataset, TracedReads)]
    names = {pid: name for pid in pids for data in datasets if (name := data.read_by(pid))}
    who = ', '.join(f'{pid} (reading {names[pid]})' if pid in names else str(pid) for pid in pids)
    advice = next((text for word, text in ADVICE if word in cause), OTHERWISE)
    return UserError(
        f'loader worker {who} {cause or "died"}: {advice}; continue with --resume',
        key='worker',
        value=who,
    )


def _silent_worker(seconds: str, loaders: Iterable[Any]) -> UserError:
    """Return the error for a batch that did not come; a decoder cannot be interrupted."""
    datasets = [loader.dataset for loader in loaders if isinstance(loader.dataset, TracedReads)]
    reads = sorted((read for data in datasets for read in data.reads()), key=lambda read: -read[2])
    if not reads:
        return UserError(
            f'no batch has come from the loader workers for {seconds} s; run with num_workers=0 to '
            'see where they hang, or raise the timeout of the data loader',
            key='timeout',
            value=float(seconds),
        )
    pid, name, taken = reads[0]
    return UserError(
        f'{name}: loader worker {pid} has read it for {taken:.0f} s, and no batch has come for '
        f'{seconds} s; check the file and its disk, then continue with --resume. A longer limit: '
        'timeout of the data loader (seconds)',
        key='file',
        value=name,
    )


@contextmanager
def name_dead_workers(runner: 'Runner') -> Iterator[None]:
    """Turn the death or silence of a loader's worker into the error of `worker_error`."""
    try:
        yield
    except RuntimeError as error:
        loops = (runner._train_loop, runner._val_loop, runner._test_loop)
        parts = [getattr(loop, name, None) for loop in loops for name in ('dataloader', 'bank')]
        raise (
            worker_error(error, [p for p in parts if isinstance(p, DataLoader)]) or error
        ) from None
