"""Two gloo processes that are started once for all tests of collectives."""

import multiprocessing
import pickle
import tempfile
import traceback
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from torch import distributed as td

STOP = b''


def _serve(rank: int, world: int, backend: str, store: str, pipe: Any) -> None:
    torch.set_num_threads(1)
    td.init_process_group(
        backend,
        init_method=f'file://{store}',
        rank=rank,
        world_size=world,
        timeout=timedelta(seconds=90),
    )
    while (job := pipe.recv_bytes()) != STOP:
        try:
            function, args = pickle.loads(job)
            answer = (True, function(*args))
        except BaseException:
            answer = (False, traceback.format_exc())
        pipe.send_bytes(pickle.dumps(answer))
    td.destroy_process_group()


class Ranks:
    """Call a module-level function on every rank at once; the answers come in rank order."""

    def __init__(self, world: int = 2, backend: str = 'gloo') -> None:
        self.world, self.backend = world, backend
        self.pipes: list[Any] = []
        self.processes: list[Any] = []

    def __call__(self, function: Callable[..., Any], *args: Any) -> list[Any]:
        if not self.processes:
            self._start()
        job, answers = pickle.dumps((function, args)), []
        try:
            for pipe in self.pipes:
                pipe.send_bytes(job)
            for rank, pipe in enumerate(self.pipes):
                if not pipe.poll(120):
                    raise TimeoutError(f'rank {rank} does not answer in {function.__name__}')
                answers.append(pickle.loads(pipe.recv_bytes()))
        except (OSError, EOFError):  # a dead process, or one that waits for it
            self.stop()
            raise
        failed = [text for fine, text in answers if not fine]
        if failed:
            self.stop()
            raise AssertionError('on a rank:\n' + '\n'.join(failed))
        return [value for _, value in answers]

    def _start(self) -> None:
        context = multiprocessing.get_context('spawn')
        store = Path(tempfile.mkdtemp()) / 'store'
        for rank in range(self.world):
            ours, theirs = context.Pipe()
            process = context.Process(
                target=_serve,
                args=(rank, self.world, self.backend, str(store), theirs),
                daemon=True,
            )
            process.start()
            self.pipes.append(ours)
            self.processes.append(process)

    def stop(self) -> None:
        """End the processes; the next call starts new ones."""
        for pipe, process in zip(self.pipes, self.processes, strict=True):
            if process.is_alive():
                with suppress(OSError):
                    pipe.send_bytes(STOP)
                process.join(5)
            if process.is_alive():
                process.kill()
        self.pipes, self.processes = [], []
