"""Errors of loader workers that died: which, of what, and while reading which image."""

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
ADVICE = (
    ('Killed', 'the system ran out of memory: lower num_workers or the batch size'),
    ('Bus error', 'shared memory (/dev/shm) is full: enlarge it or lower num_workers'),
    ('Segmentation', 'a library crashed, maybe on that image: check it alone'),
)
OTHERWISE = 'see the lines above, or run with num_workers=0 for the error itself'


def worker_error(error: RuntimeError, loaders: Iterable[Any]) -> UserError | None:
    """Return the error to show for a dead worker, or None when it is about something else."""
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


@contextmanager
def name_dead_workers(runner: 'Runner') -> Iterator[None]:
    """Turn the death of a loader's worker into the error of `worker_error`."""
    try:
        yield
    except RuntimeError as error:
        loops = (runner._train_loop, runner._val_loop, runner._test_loop)
        parts = [getattr(loop, name, None) for loop in loops for name in ('dataloader', 'bank')]
        raise (
            worker_error(error, [p for p in parts if isinstance(p, DataLoader)]) or error
        ) from None
