"""Write files of weights: all or nothing, tensors and plain data only."""

import os
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
    except (OSError, RuntimeError) as error:
        beside.unlink(missing_ok=True)
        raise UserError(f'{path}: could not be written ({error}){advice}') from None
