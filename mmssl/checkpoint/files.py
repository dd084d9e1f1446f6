"""Write files of weights: all or nothing, tensors and plain data only."""

import errno
import os
import shutil
from pathlib import Path
from typing import Any

import torch

from ..core import UserError


def write(content: dict[str, Any], path: Path, advice: str = '') -> None:
    """Write beside the final name, flush to disk, rename: a reader sees all or nothing.

    ``.safetensors`` files receive the ``state_dict`` alone. Raises UserError naming the file
    when the disk is full or not writable.
    """
    beside = path.with_name(f'.{path.name}.{os.getpid()}')
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(beside, 'wb') as file:
            if path.suffix == '.safetensors':
                from safetensors.torch import save

                file.write(save({k: v.contiguous() for k, v in content['state_dict'].items()}))
            else:
                torch.save(content, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
        _flush_folder(path.parent)
    except (OSError, RuntimeError) as error:
        reason = _reason(error, path.parent)
        beside.unlink(missing_ok=True)
        raise UserError(f'{path}: could not be written ({reason}){advice}') from None


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
