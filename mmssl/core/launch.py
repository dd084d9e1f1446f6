"""Join the processes a launcher has started, with or without GPUs."""

import gc
import os
import subprocess
from datetime import timedelta

import torch
from torch import distributed as td

from . import dist, watchdog
from .errors import UserError

LAUNCHERS = ('none', 'pytorch', 'slurm', 'mpi')


def _need(name: str, launcher: str) -> str:
    value = os.environ.get(name)
    if value is None:
        how = {
            'pytorch': 'torchrun or tools/dist_train.sh',
            'slurm': 'srun or tools/slurm_train.sh',
            'mpi': 'mpirun',
        }[launcher]
        raise UserError(
            f'--launcher {launcher}: {name} is not set; start with {how}, or use --launcher none',
            key=name,
        )
    return value


def _slurm_address() -> str:
    nodes = _need('SLURM_NODELIST', 'slurm')
    found = subprocess.run(
        ['scontrol', 'show', 'hostnames', nodes], capture_output=True, text=True, check=False
    )
    if found.returncode:
        raise UserError(
            '--launcher slurm: scontrol does not answer; set MASTER_ADDR yourself',
            key='MASTER_ADDR',
        )
    return found.stdout.split()[0]


def read_environment(launcher: str) -> None:
    """Translate the launcher's variables to RANK, WORLD_SIZE, LOCAL_RANK, MASTER_*.

    Raises UserError naming the variable that is missing.
    """
    if launcher not in LAUNCHERS:
        raise UserError(
            f"launcher '{launcher}' is unknown; use one of {', '.join(LAUNCHERS)}",
            key='launcher',
            value=launcher,
        )
    names = {
        'pytorch': ('RANK', 'WORLD_SIZE', 'LOCAL_RANK'),
        'slurm': ('SLURM_PROCID', 'SLURM_NTASKS', 'SLURM_LOCALID'),
        'mpi': ('OMPI_COMM_WORLD_RANK', 'OMPI_COMM_WORLD_SIZE', 'OMPI_COMM_WORLD_LOCAL_RANK'),
    }[launcher]
    own = ('RANK', 'WORLD_SIZE', 'LOCAL_RANK')
    os.environ.update({o: _need(n, launcher) for o, n in zip(own, names, strict=True)})
    if 'MASTER_ADDR' not in os.environ:
        os.environ['MASTER_ADDR'] = _slurm_address() if launcher == 'slurm' else '127.0.0.1'
    os.environ.setdefault('MASTER_PORT', _port(launcher))


def _port(launcher: str) -> str:
    """Jobs that share a Slurm node must not meet: their numbers give the port."""
    if launcher != 'slurm':
        return '29500'
    job, step = (int(os.environ.get(f'SLURM_{name}ID', 0)) for name in ('JOB', 'STEP_'))
    return str(20000 + (job * 7 + step) % 20000)


def init_distributed(launcher: str, backend: str | None = None, timeout: int = 1800) -> None:
    """Start the process group: nccl on GPUs, gloo without; ``timeout`` in seconds.

    A step or collective that takes longer ends the job with the name of who is behind. Raises
    UserError when more processes were started than this machine has GPUs.
    """
    read_environment(launcher)
    if torch.cuda.is_available():
        local, count = int(os.environ['LOCAL_RANK']), torch.cuda.device_count()
        if local >= count:
            raise UserError(
                f'process {local} of this machine has no GPU: it has {count}; start at most '
                f'{count} processes here',
                key='LOCAL_RANK',
                value=local,
            )
        torch.cuda.set_device(local)
    elif backend == 'nccl':
        backend = None  # configs name the backend of GPUs; without one gloo does the same
    backend = backend or ('nccl' if torch.cuda.is_available() else 'gloo')
    # the group's own limit is later: the watchdog knows more to say
    limit = timedelta(seconds=1.2 * timeout + 30)
    td.init_process_group(backend, timeout=limit)
    dist.host_group(limit)
    watchdog.start(timeout)


def leave() -> None:
    """End this process's part in the group, whose threads could abort a clean exit.

    gloo's threads end with the last reference to the group. Wrapped models hold some, in cycles
    that the interpreter may never collect; a thread that then lets go of a tensor while Python
    is being taken down ends the process by 'terminate called without an active exception'.
    """
    watchdog.stop()
    gc.collect()
    if td.is_available() and td.is_initialized():
        td.destroy_process_group()
