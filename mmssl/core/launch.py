"""Join the processes a launcher has started, with or without GPUs."""

import gc
import json
import os
import re
import subprocess
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import torch
from torch import distributed as td
from torch.distributed import distributed_c10d
from torch.distributed.rendezvous import rendezvous

from . import dist, watchdog
from .device import check_driver, gpu_identity, model_device, set_local_device
from .errors import UserError

LAUNCHERS = ('none', 'pytorch', 'slurm', 'mpi')
# of each launcher: rank, number of processes, rank on the machine
VARIABLES = {
    'pytorch': ('RANK', 'WORLD_SIZE', 'LOCAL_RANK'),
    'slurm': ('SLURM_PROCID', 'SLURM_NTASKS', 'SLURM_LOCALID'),
    'mpi': ('OMPI_COMM_WORLD_RANK', 'OMPI_COMM_WORLD_SIZE', 'OMPI_COMM_WORLD_LOCAL_RANK'),
}
WAIT = 3  # seconds for which a rank waits for the error of the first one
LOOK = 0.1  # seconds between two looks into the store


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


def processes_started(launcher: str) -> int:
    """Return the number of processes that a launcher says it has started, 1 without one."""
    if launcher not in VARIABLES:
        return 1
    count = os.environ.get(VARIABLES[launcher][1], '')
    return int(count) if count.isdigit() else 1


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
    names = zip(VARIABLES['pytorch'], VARIABLES[launcher], strict=True)
    os.environ.update({own: _need(name, launcher) for own, name in names})
    if 'MASTER_ADDR' not in os.environ:
        os.environ['MASTER_ADDR'] = _slurm_address() if launcher == 'slurm' else '127.0.0.1'
    os.environ.setdefault('MASTER_PORT', _port(launcher))


def _port(launcher: str) -> str:
    """Jobs that share a Slurm node must not meet: their numbers give the port."""
    if launcher != 'slurm':
        return '29500'
    job, step = (int(os.environ.get(f'SLURM_{name}ID', 0)) for name in ('JOB', 'STEP_'))
    return str(20000 + (job * 7 + step) % 20000)


def init_distributed(
    launcher: str, backend: str | None = None, timeout: int = 1800, join: int = 300
) -> None:
    """Start the process group: nccl on GPUs, gloo without.

    ``join`` seconds (``env_cfg.dist_cfg.join``) are given to all processes to start. After that a
    step or collective that takes longer than ``timeout`` seconds ends the job with the name of who
    is behind. Raises UserError on the first rank, and SystemExit on the others, when a process is
    missing, is there twice or has no GPU of its own, when a driver is too old, or NCCL cannot
    start; and UserError when the port is in use or nobody answers there.
    """
    read_environment(launcher)
    rank, world = _number('RANK'), _number('WORLD_SIZE')
    if not rank < world:
        raise UserError(
            f'RANK={rank} of WORLD_SIZE={world} processes: ranks are 0 to {world - 1}; start as '
            'many processes as WORLD_SIZE says',
            key='RANK',
            value=str(rank),
        )
    # the group's own limit is later: the watchdog knows more to say
    limit = timedelta(seconds=1.2 * timeout + 30)
    store = _store(rank, world, join)
    store.set_timeout(limit)
    set_local_device(_number('LOCAL_RANK'))
    agree(store, rank, world, 'GPUs', lambda: dict(_report(), world=str(world)), join)
    if not torch.cuda.is_available() and backend == 'nccl':
        backend = None  # configs name the backend of GPUs; without one gloo does the same
    backend = backend or ('nccl' if torch.cuda.is_available() else 'gloo')
    td.init_process_group(backend, store=store, rank=rank, world_size=world, timeout=limit)
    dist.set_limit(limit)
    dist.host_group()
    if backend == 'nccl':
        agree(store, rank, world, 'NCCL', _try_nccl, timeout)
    watchdog.start(timeout)


def _number(name: str) -> int:
    """Return a number of the environment. Raises UserError for any other text."""
    text = os.environ[name]
    if not re.fullmatch('[0-9]{1,9}', text):
        raise UserError(f'{name}={text}: is no number; correct it', key=name, value=text)
    return int(text)


def _store(rank: int, world: int, join: int) -> Any:
    """Return the store that all processes share.

    Raises UserError when the first rank cannot open its port, or another cannot reach it.
    """
    limit = timedelta(seconds=join)
    port = _number('MASTER_PORT')
    place = f'{os.environ["MASTER_ADDR"]}:{port}'
    try:
        if os.environ.get('TORCHELASTIC_USE_AGENT_STORE') == 'True':
            # a launcher that restarts processes gives each start a store of its own
            return next(rendezvous('env://', timeout=limit))[0]
        return td.TCPStore(  # type: ignore[attr-defined]
            os.environ['MASTER_ADDR'],
            port,
            is_master=rank == 0,
            timeout=limit,
            wait_for_workers=False,  # it would count a rank that is there twice as two
            multi_tenant=True,
        )
    except (RuntimeError, ValueError) as error:
        reason = ' '.join(str(error).split())[:200]
        if rank == 0:
            advice = 'another job, or another rank 0, may use it; give MASTER_PORT a free one'
            what = f'the port cannot be opened ({reason}); {advice}'
        else:
            advice = 'start it, and give all MASTER_ADDR and MASTER_PORT of the same machine'
            what = f'rank 0 of {world} does not answer there within {join} s ({reason}); {advice}'
        raise UserError(f'{place}: {what}', key='MASTER_PORT', value=str(port)) from None


def _report() -> dict[str, str]:
    """Return this process's GPU, and what is wrong with it."""
    try:
        check_driver()
    except UserError as error:
        return dict(problem=str(error))
    return dict(gpu=gpu_identity())


def _try_nccl() -> dict[str, str]:
    """Return what keeps NCCL from working, after a first exchange."""
    try:
        td.all_reduce(torch.zeros(1, device=model_device()))
        torch.cuda.synchronize()
    except RuntimeError as error:
        reason = ' '.join(str(error).split())[:300]
        return dict(
            problem=f'NCCL cannot start ({reason}); NCCL_DEBUG=INFO says more, and --cfg-options '
            'env_cfg.dist_cfg.backend=gloo does without it, slowly'
        )
    return {}


def agree(
    store: Any,
    rank: int,
    world: int,
    topic: str,
    report: Callable[[], dict[str, str]],
    seconds: float,
) -> None:
    """Let the first rank read the reports of all; without a process group, through its store.

    ``topic`` tells this exchange from others on the store, which takes at most ``seconds``. Raises
    UserError on the first rank for problems, for a GPU that several processes were given, for a
    rank that is missing and for one that is there twice; the others leave without a word, with the
    same status.
    """
    verdict, told = f'{topic}: verdict', f'{topic}: ranks that know it'
    names = [f'{topic}: report of {r}' for r in range(world)]
    if store.add(f'{topic}: times of {rank}', 1) > 1:
        twice = _twice(rank)
        store.set(verdict, str(twice))
        raise twice
    store.set(names[rank], json.dumps(report()))
    if rank:
        # the first one waits as long for the others, and then tells
        if not _answered(store, [verdict], seconds + WAIT):
            raise SystemExit(2)
        bad = bool(store.get(verdict))
        store.add(told, 1)
        if bad:
            raise SystemExit(2)
        return
    error = _judge(store, verdict, names, seconds)
    store.set(verdict, str(error or ''))
    if error:
        # the store, which the others read this in, ends with this process
        end = time.monotonic() + WAIT
        while store.add(told, 0) < world - 1 and time.monotonic() < end:
            time.sleep(LOOK)
        raise error


def _twice(rank: int) -> UserError:
    return UserError(
        f'rank {rank} is there twice: two processes were started with it on one MASTER_ADDR and '
        'MASTER_PORT; give each process a rank of its own, or each job a port of its own',
        key='RANK',
        value=str(rank),
    )


def _judge(store: Any, verdict: str, names: list[str], seconds: float) -> UserError | None:
    """Return what is wrong with the reports, which all ranks have ``seconds`` to write."""
    if not _answered(store, names, seconds, unless=verdict):
        missing = [rank for rank, name in enumerate(names) if not store.check([name])]
        return UserError(
            f'rank {", ".join(map(str, missing[:10]))} of {len(names)} has not come within '
            f'{seconds:.0f} s: start as many processes as WORLD_SIZE says; its own message may '
            'tell why it ended. A longer limit: env_cfg.dist_cfg.join (seconds)',
            key='rank',
            value=missing[0],
        )
    if store.check([verdict]):  # by a process with the rank of another
        return UserError(store.get(verdict).decode(), key='RANK')
    return _verdict([json.loads(store.get(name)) for name in names])


def _answered(store: Any, names: list[str], seconds: float, unless: str = '') -> bool:
    """Wait until the store has all names, or ``unless``; False when it has not after ``seconds``.

    It is asked again and again: a call that waits would do so for the limit of all calls.
    """
    end = time.monotonic() + seconds
    try:
        while not store.check(names):
            if unless and store.check([unless]):
                return True
            if time.monotonic() > end:
                return False
            time.sleep(LOOK)
    except RuntimeError:  # the first rank has ended
        return False
    return True


def _verdict(reports: list[dict[str, str]]) -> UserError | None:
    """Return what is wrong with the reports of all ranks, if anything."""
    for rank, report in enumerate(reports):
        if 'problem' in report:
            return UserError(f'rank {rank}: {report["problem"]}', key='rank', value=rank)
        if report.get('world') != reports[0].get('world'):
            return UserError(
                f'rank {rank} was started as one of {report.get("world")} processes, rank 0 as one '
                f'of {reports[0].get("world")}; give all the same WORLD_SIZE',
                key='WORLD_SIZE',
                value=report.get('world'),
            )
    ranks: dict[str, list[int]] = {}
    for rank, report in enumerate(reports):
        ranks.setdefault(report.get('gpu', ''), []).append(rank)
    without = ranks.pop('', [])
    if without and ranks:
        return UserError(
            f'rank {without[0]} sees no GPU and rank {min(ranks.values())[0]} does; start all '
            "processes on GPUs, or all with CUDA_VISIBLE_DEVICES=''",
            key='rank',
            value=without[0],
        )
    shared = next((found for found in ranks.values() if len(found) > 1), None)
    if shared is None:
        return None
    return UserError(
        f'ranks {" and ".join(map(str, shared))} have the same GPU: {len(reports)} processes were '
        f'started for {len(ranks)} GPUs; start one process for each GPU, and at most that many',
        key='processes',
        value=len(reports),
    )


def tells(message: str) -> bool:
    """Whether this process is the one to print an error that several ranks may have met.

    The first rank does; another one whose message is the same stays silent.
    """
    if dist.world_size() == 1:
        return True
    store = distributed_c10d._get_default_store()
    if dist.rank() == 0:
        store.set('error of the first rank', message)
        return True

    def said() -> bool:
        """Whether the first rank, which may go on or be gone, says the same."""
        return _answered(store, ['error of the first rank'], WAIT) and (
            store.get('error of the first rank').decode() == message
        )

    return not watchdog.ask(said, 2 * WAIT, False)


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
