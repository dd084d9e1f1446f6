"""Training files on disk: written whole, checked when read, the newest valid one found."""

import errno
import os
import shutil
from pathlib import Path
from typing import Any

import torch

from ..checkpoint import read
from ..checkpoint.digest import seal, verify
from ..core import UserError, dist

FORMAT = 'mmssl-training-1'


def write(content: dict[str, Any], path: Path) -> None:
    """Write beside the final name, flush to disk, rename: a reader sees all or nothing.

    Raises UserError naming the file when the disk is full or not writable.
    """
    beside = path.with_name(f'.{path.name}.{os.getpid()}')
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(beside, 'wb') as file:
            torch.save(seal(content), file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
        _flush_folder(path.parent)
    except (OSError, RuntimeError) as error:
        reason = _reason(error, path.parent)
        beside.unlink(missing_ok=True)
        raise UserError(
            f'{path}: could not be written ({reason}); earlier checkpoints are untouched. '
            'Free some space or pass another --work-dir, then continue with --resume'
        ) from None


def _reason(error: Exception, folder: Path) -> str:
    """Say what torch's own words for a full disk ('unexpected pos ...') do not."""
    if isinstance(error, RuntimeError) and shutil.disk_usage(folder).free < 2**20:
        return os.strerror(errno.ENOSPC)
    return str(error)


def _flush_folder(folder: Path) -> None:
    """Make a rename survive a power cut."""
    at = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(at)
    finally:
        os.close(at)


def write_together(content: dict[str, Any], path: Path) -> None:
    """Write on the first rank; all ranks learn, and raise, when it could not be done."""
    problem = None
    if dist.rank() == 0:
        try:
            write(content, path)
        except UserError as error:
            problem = str(error)
    problem = dist.object_from_rank_zero(problem)
    if problem:
        raise UserError(problem)


def sweep(folder: Path) -> None:
    """Remove halves that a killed run left."""
    for file in folder.glob('.*.pth.*'):
        file.unlink(missing_ok=True)


def open_training(path: str | Path) -> dict[str, Any]:
    """Return the content of one of our training files.

    Raises UserError when it is damaged or holds no training state of ours.
    """
    content = read(path)
    if content.get('format') != FORMAT:
        raise UserError(
            f'{path}: holds no training state of mmssl, so it cannot be resumed; to start from '
            f'its weights use --cfg-options load_from={path}'
        )
    verify(content, str(path))
    return content


def newest(folder: Path, logger: Any) -> Path | None:
    """Return the newest valid training file of a work dir, passing over damaged ones."""
    files = sorted(folder.glob('*.pth'), key=lambda p: p.stat().st_mtime, reverse=True)
    for file in files:
        try:
            open_training(file)
        except UserError as error:
            if 'holds no training state' not in str(error):
                logger.warning(f'passed over while resuming: {error}')
            continue
        return file
    return None
