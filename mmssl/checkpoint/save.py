"""Write files of weights: all or nothing, tensors and plain data only."""

import errno
import os
import shutil
from pathlib import Path
from typing import Any

import torch

from ..core import UserError
from ..core.io import atomic_path


def write(content: dict[str, Any], path: Path, advice: str = '') -> None:
    """Write a file of weights; readers see the old file or the whole new one.

    Tensors may have any shape (*). ``.safetensors`` files receive the ``state_dict`` alone. Raises
    UserError, naming the file and ending with ``advice``, when the disk is full or not writable.
    """
    try:
        with atomic_path(path) as beside, open(beside, 'wb') as file:
            if path.suffix == '.safetensors':
                from safetensors.torch import save

                file.write(save({k: v.contiguous() for k, v in content['state_dict'].items()}))
            else:
                torch.save(content, file)
    except (OSError, RuntimeError) as error:
        reason = _reason(error, path.parent)
        raise UserError(
            f'{path}: could not be written ({reason}){advice}', key='file', value=str(path)
        ) from None


def _reason(error: Exception, folder: Path) -> str:
    """Return the error in one line; torch's own for a full disk ('unexpected pos') hides it."""
    if isinstance(error, RuntimeError) and shutil.disk_usage(folder).free < 2**20:
        return os.strerror(errno.ENOSPC)
    return ' '.join(str(error).split())
