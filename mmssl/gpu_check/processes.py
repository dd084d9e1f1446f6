"""Collectives on one process, and whole trainings on two, which share a GPU if there is one."""

import json
import math
import os
import socket
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import distributed as td
from torch.multiprocessing.spawn import (
    ProcessExitedException,
    ProcessRaisedException,
    start_processes,
)

from ..core import dist
from ..core.device import model_device, set_local_device
from ..core.io import atomic_write, to_plain
from ..core.launch import init_distributed, leave
from .parts import NO_TIME, TAIL, Parts, expect, near
from .recipes import make_runner, small_config, train, write_shapes

# seconds of a collective: below the limit of the check, so that a hang is told as one
TIMEOUTS = dict(cuda=15, cpu=60)
RANKS = 2
LIMIT = 0.02  # of losses with FullyShard and DDP, whose sums are in another order


class NotAlone(int):
    """A number of processes that is not equal to 1, so that nothing returns early."""

    def __eq__(self, other: object) -> bool:
        return other != 1 and int(self) == other

    def __ne__(self, other: object) -> bool:  # int has one of its own
        return not self == other

    def __hash__(self) -> int:
        return hash(int(self))

    def __gt__(self, other: int) -> bool:
        return other == 1 or int(self) > other


Job = tuple[str, Callable[..., dict[str, Any]], tuple[Any, ...]]  # name, function, arguments


def check(parts: Parts) -> None:
    """Train on two processes with DDP and with FullyShard, then call every collective on one."""
    data = write_shapes(parts.folder / 'shapes')
    backend = 'gloo'
    if parts.device == 'cuda':  # NCCL takes no two processes on one GPU
        backend = 'nccl' if torch.cuda.device_count() >= RANKS else 'cpu:gloo,cuda:gloo'
    kinds = {'on two processes': data_parallel, 'with FullyShard': fully_sharded}
    jobs = [
        (f'{method} {what}, {backend}', function, (data, parts.folder / f'{i}_{method}', method))
        for i, (what, function) in enumerate(kinds.items())
        for method in ('mocov3', 'ibot')
    ]
    run_jobs(parts, jobs, backend)
    if parts.left <= 0:
        parts.add('collectives of one process', None, note=NO_TIME)
        return
    # last, and here: a backend that hangs or dies takes nothing else with it
    with parts.part('collectives of one process') as values:
        os.environ |= _variables(0, 1)
        init_distributed('pytorch', timeout=TIMEOUTS[parts.device])
        values |= collectives(data, parts.folder / 'collectives')
        leave()


def _variables(rank: int, world: int) -> dict[str, str]:
    """Return what a launcher sets, with a free port."""
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        port = str(probe.getsockname()[1])
    found = dict(RANK=str(rank), WORLD_SIZE=str(world), LOCAL_RANK=str(rank))
    return dict(found, MASTER_ADDR='127.0.0.1', MASTER_PORT=port)


def run_jobs(parts: Parts, jobs: list[Job], backend: str) -> None:
    """Run jobs on a pair of processes; after one that fails, the others on a new pair."""
    attempt = 0
    while jobs:
        folder = parts.folder / f'pair_{attempt}'
        folder.mkdir()
        attempt += 1
        error = _run_pair(parts, folder, jobs, backend)
        for file in sorted(folder.glob('done_*.json')):
            found = json.loads(file.read_text())
            parts.add(jobs[0][0], True, found.pop('seconds'), **found)
            jobs = jobs[1:]
        if error is None:
            break
        if parts.left <= 0:
            notes = ['had not ended when time was over', *[NO_TIME] * len(jobs)]
            for (name, *_), note in zip(jobs, notes, strict=False):
                parts.add(name, None, note=note)
            return
        if jobs:
            parts.add(jobs[0][0], False, error=error.strip().splitlines()[-1], trace=error[-TAIL:])
            jobs = jobs[1:]


def _run_pair(parts: Parts, folder: Path, jobs: list[Job], backend: str) -> str | None:
    """Run jobs until one fails; return its traceback, or None when all are done."""
    started = start_processes(
        _serve,
        (backend, TIMEOUTS[parts.device], folder, jobs, _variables(0, RANKS)),
        nprocs=RANKS,
        join=False,
        start_method='spawn',
    )
    try:
        while not started.join(timeout=0.2):
            if parts.left <= 0:
                return NO_TIME
    except (ProcessRaisedException, ProcessExitedException) as error:
        return str(error)
    finally:
        for process in started.processes:
            process.kill()
    return None


def _serve(
    rank: int,
    backend: str,
    timeout: int,
    folder: Path,
    jobs: list[Job],
    variables: dict[str, str],
) -> None:
    """Join the group and do the jobs; the first process writes what each returns."""
    torch.set_num_threads(1)
    os.environ |= dict(variables, RANK=str(rank), LOCAL_RANK=str(rank))
    set_local_device(rank)  # a launcher would refuse processes that share a GPU
    limit = timedelta(seconds=timeout)
    td.init_process_group(backend, timeout=limit)
    dist.set_limit(limit)
    dist.host_group()
    for number, (_, function, args) in enumerate(jobs):
        began = time.monotonic()
        found = function(*args) | dict(seconds=time.monotonic() - began)
        dist.wait()
        if rank == 0:
            atomic_write(folder / f'done_{number}.json', json.dumps(to_plain(found)))
    leave()


def collectives(data: Path, folder: Path) -> dict[str, Any]:
    """Call every function of `core.dist` through the backend, then train. Raises AssertionError."""
    with mock.patch.object(dist, 'world_size', lambda: NotAlone(1)):
        for device in dict.fromkeys(('cpu', model_device().type)):
            x = torch.arange(6.0, device=device).view(3, 2)
            for call in (dist.gather, dist.gather_uneven, dist.sum_over_ranks,
                         dist.largest_over_ranks, dist.from_rank_zero):  # fmt: skip
                found = call(x)
                expect(found is not x, f'{call.__name__} returned early')
                expect(torch.equal(found, x), f'{call.__name__} on {device}: {found}')
        expect(dist.object_from_rank_zero({'a': 1}) == {'a': 1}, 'object_from_rank_zero')
        expect(dist.gather_objects('x') == ['x'], 'gather_objects')
        expect(dist.call_on_rank_zero(lambda: 3) == 3, 'call_on_rank_zero')
        dist.wait()
        options: dict[str, Any] = dict(launcher='pytorch', sync_bn='torch')
        losses = train(make_runner(small_config('mocov3', data, **options), folder / 'run'))
    expect(all(map(math.isfinite, losses)), f'losses: {losses}')
    return dict(backend=td.get_backend(), last_loss=losses[-1])


def _options(**more: Any) -> dict[str, Any]:
    return dict(launcher='pytorch', sync_bn='torch', train_dataloader__batch_size=4, **more)


def data_parallel(data: Path, folder: Path, method: str) -> dict[str, Any]:
    """Train with accumulated gradients, save, resume the last epoch. Raises AssertionError."""
    options = _options(optim_wrapper__accumulative_counts=2, default_hooks__checkpoint__interval=1)
    whole = train(make_runner(small_config(method, data, **options), folder / 'run'))
    expect(all(map(math.isfinite, whole)), f'losses: {whole}')
    first = str(folder / 'run' / 'epoch_1.pth')
    cfg = small_config(method, data, resume=True, load_from=first, **options)
    again = train(make_runner(cfg, folder / 'run'))
    expect(len(again) == len(whole) // 2, f'{len(again)} steps after resuming, of {len(whole)}')
    near(again[0], whole[len(again)], LIMIT, 'first loss after resuming')
    return dict(first_loss=whole[0], last_loss=whole[-1])


def fully_sharded(data: Path, folder: Path, method: str) -> dict[str, Any]:
    """Train with DDP and with FullyShard from one start; compare. Raises AssertionError."""
    wrapper: dict[str, Any] = dict(model_wrapper_cfg=dict(type='FullyShard'))
    ddp = train(make_runner(small_config(method, data, **_options()), folder / 'ddp'))
    sharded = train(
        make_runner(small_config(method, data, **_options(**wrapper)), folder / 'sharded')
    )
    for step, (ours, other) in enumerate(zip(sharded, ddp, strict=True), 1):
        near(ours, other, LIMIT, f'loss of step {step}, FullyShard and DDP')
    files = sorted(file.name for file in (folder / 'sharded').glob('*.pth'))
    expect(bool(files), 'FullyShard saved no file')
    return dict(last_loss=sharded[-1], files=files)
