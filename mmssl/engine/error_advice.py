"""Advice for errors of the machine and of other processes: memory, disks, lost ranks."""

import errno
import os
import re
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core import UserError, dist, watchdog

if TYPE_CHECKING:
    from .runner import Runner

DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO}
# how gloo and NCCL say that another process is gone
LOST = ('Connection closed', 'Connection reset', 'Broken pipe', 'Timed out', 'NCCL', 'gloo')
# how torch refuses an operator in deterministic mode, after its name
UNREPEATABLE = ' does not have a deterministic implementation'
MEMORY = ('out of memory', "can't allocate memory")


@contextmanager
def advise_on_errors(runner: 'Runner | None' = None) -> Iterator[None]:
    """Turn errors of the machine and of other processes into a UserError with advice.

    Raises it in their place; other errors pass.
    """
    try:
        yield
    except UserError:
        raise
    except ImportError as error:  # backends of the visualizer import their package when used
        package = re.search(r'pip install ([\w-]+)', str(error))
        place = Path(traceback.extract_tb(error.__traceback__)[-1].filename)
        if package is None or place.stem != 'vis_backend':
            raise
        raise UserError(
            f'{package[1]} is not installed: pip install {package[1]}, or leave it out of '
            'visualizer.vis_backends',
            key='visualizer.vis_backends',
            value=package[1],
        ) from None
    except (RuntimeError, MemoryError, OSError) as error:
        advice = error_advice(error, runner)
        if advice is None:
            raise
        raise advice from None


def error_advice(error: Exception, runner: 'Runner | None' = None) -> UserError | None:
    """Return the error to show to the user, or None for an error of the program."""
    text = ' '.join(str(error).split())
    first = text[:300]
    at = f'rank {dist.rank()}, step {watchdog.status.step}: ' if dist.world_size() > 1 else ''
    if isinstance(error, OSError):
        if error.errno == errno.ENOENT and _was_in_work_dir(error.filename, runner):
            return _moved(runner, at)
        if error.errno not in DISK:
            return None
        file = error.filename or 'the work dir'
        return UserError(
            f'{at}{file}: {os.strerror(error.errno or 0)}; earlier '
            'checkpoints are untouched. Free some space or pass a writable --work-dir, then '
            'continue with --resume',
            key='file',
            value=str(file),
        )
    if isinstance(error, MemoryError) or any(mark in text for mark in MEMORY):
        batch = getattr(getattr(runner, 'train_dataloader', None), 'batch_size', None)
        now = f' (now {batch})' if batch else ''
        return UserError(
            f'{at}out of memory: lower train_dataloader.batch_size{now} and raise '
            'optim_wrapper.accumulative_counts to keep their product, or use --amp; then continue '
            f'with --resume ({first})',
            key='train_dataloader.batch_size',
            value=batch,
        )
    if UNREPEATABLE in text:
        operator = text.partition(UNREPEATABLE)[0]
        return UserError(
            f'{at}randomness.deterministic: CUDA computes {operator} in changing order only; leave '
            'randomness.deterministic out, or use a network or method without it',
            key='randomness.deterministic',
            value=True,
        )
    if dist.world_size() > 1 and any(mark in text for mark in LOST):
        return UserError(
            f"{at}lost the other processes in '{watchdog.status.what}': {watchdog.suspects()}. "
            f'Its own message tells why; continue with --resume ({first})',
            key='processes',
            value=watchdog.status.what,
        )
    return None


def _was_in_work_dir(file: Any, runner: 'Runner | None') -> bool:
    """Whether a file that is missing lies in the work dir of a run."""
    if runner is None or not isinstance(file, (str, os.PathLike)):
        return False
    return Path(file).absolute().is_relative_to(Path(runner.work_dir).absolute())


def _moved(runner: Any, at: str) -> UserError:
    return UserError(
        f'{at}{runner.work_dir}: the work dir is there no more, or not as it was: it was moved or '
        'removed during the run. Move it back, or pass its new place as --work-dir, then continue '
        'with --resume',
        key='work_dir',
        value=str(runner.work_dir),
    )
