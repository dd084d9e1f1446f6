"""Training files: written whole, checked when read; the newest valid one of a work dir."""

import errno
import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ...checkpoint import read, save
from ...checkpoint.content_hash import add_hash
from ...checkpoint.file_format import FORMAT, OtherVersion
from ...checkpoint.reader.read_file import read_outline
from ...core import UserError, dist
from .training_schema import check_run, check_schema

NAMES = re.compile(r'(epoch_\d+|iter_\d+|best.*)\.pth')  # of ours, and of mmengine

LOCK = '.lock'
OWNER = '.lock_owner'  # who holds it


class NotTraining(UserError):
    """A file that holds no training state of ours, such as weights alone."""


def write(content: dict[str, Any], path: Path) -> None:
    """Write a training file with its hash, whole or not at all; UserError when that fails."""
    save.write(
        add_hash(content),
        path,
        '; earlier checkpoints are untouched. Free some space or pass another --work-dir, then '
        'continue with --resume',
    )


def write_together(content: dict[str, Any], path: Path) -> None:
    """Write on the first rank; all ranks learn, and raise, when it could not be done."""
    dist.call_on_rank_zero(lambda: write(content, path))


def training_files(folder: Path) -> list[Path]:
    """Return the training files of a folder by their names, sorted."""
    return sorted(file for file in folder.glob('*.pth') if NAMES.fullmatch(file.name))


def check_work_dir(folder: str | Path, resume: bool, overwrite: bool) -> None:
    """Raise UserError on all ranks when a new run would mix its files with those of an old one.

    The first rank looks, before any rank writes.
    """
    if resume or overwrite:
        return
    found = dist.call_on_rank_zero(lambda: training_files(Path(folder)))
    if found:
        raise UserError(
            f'{folder}: holds training files of an earlier run ({found[-1].name}); --resume '
            'continues it, --work-dir FOLDER starts beside it, --overwrite replaces it',
            key='folder',
            value=str(folder),
        )


def make(folder: str | Path) -> None:
    """Make the work dir. Raises UserError where there cannot be a folder, and OSError for a disk.

    A file in its place, a name that is too long, or one that is no name.
    """
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError, FileNotFoundError, ValueError) as error:
        raise _no_folder(folder, error) from None
    except OSError as error:
        if error.errno not in (errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL):
            raise
        raise _no_folder(folder, error) from None


def _no_folder(folder: str | Path, error: Exception) -> UserError:
    reason = getattr(error, 'strerror', None) or error  # of the system's errors alone
    return UserError(
        f'work_dir={folder}: there can be no such folder ({reason}); pass another --work-dir',
        key='work_dir',
        value=str(folder),
    )


def clear(folder: str | Path) -> None:
    """Remove the training files of an earlier run, on the first rank."""
    if dist.rank() == 0:
        for file in (*training_files(Path(folder)), Path(folder, 'last_checkpoint')):
            file.unlink(missing_ok=True)


def remove_partial_files(folder: Path) -> None:
    """Remove files that a killed run has written in part."""
    for file in folder.glob('.*.pth.*'):
        file.unlink(missing_ok=True)


def open_training(path: str | Path) -> dict[str, Any]:
    """Return the content of one of our training files.

    Raises UserError when it is damaged or of another version, or has entries of another kind,
    `NotTraining` when it holds no training state of ours.
    """
    content = read(path)
    check_training(content, path)
    check_schema(content, str(path))
    return content


def check_training(content: dict[str, Any], path: str | Path) -> None:
    """Raise `NotTraining` when the content of a file holds no training state of ours."""
    if content.get('format') != FORMAT:
        raise NotTraining(
            f'{path}: holds no training state of mmssl, so it cannot be resumed; to start from '
            f'its weights use --cfg-options load_from={path}',
            key='file',
            value=str(path),
        )


def run_of(path: Path) -> dict[str, Any]:
    """Return what a training file says of its run: 'id', 'started' (seconds) and 'iter' done.

    Raises UserError as `open_training` does, but does not compare the hash.
    """
    content = read_outline(path)
    check_training(content, path)
    check_run(content, str(path))
    return {**content['meta']['run'], 'iter': content['progress']['iter']}


def newest(folder: Path, logger: Any) -> Path | None:
    """Return the training file that ``--resume`` continues, passing over damaged ones.

    Of the run that was started last it is the one with most iterations behind it: times of files
    change when they are copied. Raises UserError for a file of another version: a run begun anew
    would overwrite it.
    """
    found = []
    for file in folder.glob('*.pth'):
        try:
            run = run_of(file)
        except OtherVersion:
            raise
        except NotTraining:
            continue
        except UserError as error:
            logger.warning(f'passed over while resuming: {error}')
            continue
        found.append((run['started'], run['iter'], file.name))
    for *_, name in sorted(found, reverse=True):
        try:
            open_training(folder / name)
        except UserError as error:
            logger.warning(f'passed over while resuming: {error}')
            continue
        return folder / name
    return None


@contextmanager
def locked(folder: str | Path) -> Iterator[None]:
    """Keep other runs from writing to a work dir until the block ends.

    The first rank holds the lock; that of a process that is gone is free. Raises UserError on all
    ranks when another process holds it.
    """
    owner = Path(folder, OWNER)
    lock = FileLock(Path(folder, LOCK), timeout=0)

    def take() -> None:
        try:
            lock.acquire()
        except Timeout:
            who = owner.read_text().strip() if owner.is_file() else 'another process'
            raise UserError(
                f'{folder}: {who} is training into it; wait for its end or pass another --work-dir',
                key='folder',
                value=str(folder),
            ) from None
        owner.write_text(f'process {os.getpid()} of {socket.gethostname()}\n')

    dist.call_on_rank_zero(take)
    try:
        yield
    finally:
        if lock.is_locked:
            owner.unlink(missing_ok=True)
            lock.release()
