"""Device of this process: which GPU a local rank uses, and why there is none."""

import os
import socket

import torch

from .errors import UserError


def model_device() -> torch.device:
    """Return the device of this process's model: its current GPU, or the CPU."""
    if torch.cuda.is_available():
        return torch.device('cuda', torch.cuda.current_device())
    return torch.device('cpu')


def set_local_device(local_rank: int) -> None:
    """Make a GPU the current one of the process with index ``local_rank`` on its machine.

    Launchers show a process all GPUs of the machine, or (srun --gpus-per-task, --gpu-bind) its
    own alone, whatever its index.
    """
    count = torch.cuda.device_count()
    if count:
        torch.cuda.set_device(local_rank % count)


def gpu_identity() -> str:
    """Return what no other GPU of any machine has, '' without a GPU."""
    if not torch.cuda.is_available():
        return ''
    index = torch.cuda.current_device()
    # absent in older torch
    unique = getattr(torch.cuda.get_device_properties(index), 'uuid', index)
    return f'{socket.gethostname()} {unique}'


def missing_gpu() -> str:
    """Return why a torch built for CUDA sees no GPU, in one sentence, '' where it sees one.

    A torch built for the CPU needs none, and `CUDA_VISIBLE_DEVICES=''` hides them on purpose.
    """
    hidden = os.environ.get('CUDA_VISIBLE_DEVICES') in ('', '-1')
    if torch.cuda.is_available() or not torch.version.cuda or hidden:
        return ''
    try:
        torch.cuda.init()
    except (RuntimeError, AssertionError) as error:
        return ' '.join(str(error).split()).partition('. ')[0].rstrip('.')
    return 'no GPU is visible'


def check_driver() -> None:
    """Raise UserError where a GPU's driver is there and cannot serve this torch."""
    reason = missing_gpu()
    if 'too old' in reason:
        raise UserError(
            f'driver: {reason}; install a newer driver, or a torch built for the one that is there '
            f"(this is {torch.__version__}); CUDA_VISIBLE_DEVICES='' trains on the CPU",
            key='driver',
            value=reason,
        )
