"""Watchdog over collectives: names the process that keeps the others waiting, and ends the job."""

import json
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import distributed as td
from torch.distributed import distributed_c10d

LOST = 3  # exit status of a process that gave up waiting
BEAT = 5.0  # seconds between two signs of life
ANSWER = 2.0  # seconds in which a store that works has answered


@dataclass
class ProcessStatus:
    """Step, last collective, number of collectives begun, and since when this process waits."""

    step: int = 0
    what: str = 'start'
    count: int = 0
    since: float | None = None  # None while it works alone: nobody keeps it waiting


status = ProcessStatus()


@contextmanager
def collective(what: str) -> Iterator[None]:
    """Mark that this process waits for all others until the block ends."""
    if torch.compiler.is_compiling():
        yield
        return
    outer, status.what, status.since = status.since, what, time.monotonic()
    status.count += 1
    try:
        yield
    finally:
        status.since = outer if outer is None else time.monotonic()


Answer = TypeVar('Answer')


def ask(question: Callable[[], Answer], seconds: float, otherwise: Answer) -> Answer:
    """Return the answer to a question that another process may never answer.

    The store of a process that is stopped neither answers nor ends, and its limits in time are
    checked by that process: so a thread asks, which is left alone after ``seconds``.
    """
    answers: list[Answer] = []

    def put() -> None:
        with suppress(RuntimeError):  # the store is gone
            answers.append(question())

    thread = threading.Thread(target=put, name='question', daemon=True)
    thread.start()
    thread.join(seconds)
    return answers[0] if answers else otherwise


class Watchdog(threading.Thread):
    """Publish this rank's place in the launcher's store; end the job after a timeout.

    After ``limit`` seconds in one collective it prints which rank is behind and which collective it
    entered last, and all leave with status `LOST`. Each process ends by its own clock: the store
    belongs to the first one, which may be the one that hangs, so another thread talks to it.
    """

    def __init__(self, store: Any, rank: int, world: int, limit: float) -> None:
        super().__init__(name='watchdog', daemon=True)
        self.store = store
        self.rank = rank
        self.world = world
        self.limit = limit
        self.pause = min(BEAT, limit / 5)
        self.name_of_process = f'rank {rank} ({socket.gethostname()}, pid {os.getpid()})'
        self.over = threading.Event()
        self.beats = 0
        self.heart = threading.Thread(target=self._beat, name='heart', daemon=True)

    def run(self) -> None:
        """Look whether this process waits for too long."""
        self.heart.start()
        while not self.over.wait(self.pause):
            if status.since is not None and time.monotonic() - status.since > self.limit:
                self._give_up()

    def stop(self) -> None:
        """End the threads before the interpreter ends, if the store lets them."""
        self.over.set()
        self.join()
        self.heart.join(ANSWER)

    def _beat(self) -> None:
        """Publish again and again; the first time at once, so that who dies early has a name."""
        self._publish()
        while not self.over.wait(self.pause):
            self._publish()

    def _publish(self) -> None:
        self.beats += 1
        place = dict(
            name=self.name_of_process,
            step=status.step,
            what=status.what,
            count=status.count,
            waits=status.since is not None,
            beats=self.beats,
        )
        try:
            self.store.set(f'mmssl/{self.rank}', json.dumps(place))
            if self.store.check(['mmssl/over']):  # another rank has told why
                os._exit(LOST)
        except RuntimeError:  # the first process is gone and the store with it
            self.over.wait(self.pause)

    def places(self) -> dict[int, dict[str, Any]]:
        """Return what each rank published last; ranks that never did are absent."""
        keys = {rank: f'mmssl/{rank}' for rank in range(self.world)}
        return {r: json.loads(self.store.get(k)) for r, k in keys.items() if self.store.check([k])}

    def suspects(self) -> str:
        """Say in words which ranks keep the others waiting; takes two beats."""
        return ask(
            self._suspects,
            2.5 * self.pause + ANSWER,
            'the first process, which holds the list of all, does not answer',
        )

    def _suspects(self) -> str:
        before = self.places()
        time.sleep(2.5 * self.pause)
        after = self.places()
        silent = [r for r in range(self.world) if before.get(r) == after.get(r)]
        silent = [r for r in silent if r != self.rank]
        last = max((p['count'] for p in after.values()), default=0)
        behind = [r for r, p in after.items() if p['count'] < last and r not in silent]
        told = [self._describe(r, after.get(r), 'gives no sign of life') for r in silent]
        told += [self._describe(r, after[r], 'is behind') for r in behind]
        return '; '.join(told) or f"all ranks wait in '{status.what}' of step {status.step}"

    @staticmethod
    def _describe(rank: int, place: dict[str, Any] | None, how: str) -> str:
        if place is None:
            return f'rank {rank} never gave a sign of life'
        doing = 'in' if place['waits'] else 'working alone (data, files or evaluation) after'
        return f"{place['name']} {how}: step {place['step']}, {doing} '{place['what']}'"

    def _give_up(self) -> None:
        since, what, step = status.since, status.what, status.step
        told = self.suspects()
        if status.since != since:  # it went on while we asked
            return
        print(
            f"error: {self.name_of_process} has waited {self.limit:.0f} s in '{what}' of step "
            f'{step}: {told}. Ending the job; continue with --resume. A longer limit: '
            'env_cfg.dist_cfg.timeout (seconds)',
            file=sys.stderr,
            flush=True,
        )
        ask(lambda: self.store.set('mmssl/over', ''), ANSWER, None)
        time.sleep(2 * self.pause)  # the store may end with this process
        os._exit(LOST)


_watchdog: Watchdog | None = None


def second_connection(store: Any) -> Any:
    """Return a connection of one's own to the store of the processes.

    Before 2.7 torch does not copy one; the store behind the prefixes is then asked anew.
    """
    if hasattr(store, 'clone'):
        return store.clone()
    tcp: Any = td.TCPStore  # type: ignore[attr-defined]
    while isinstance(store, distributed_c10d.PrefixStore):
        store = store.underlying_store
    if not isinstance(store, tcp):
        return store  # a file or a table of this process: its calls do not wait for others
    return tcp(store.host, store.port, is_master=False, wait_for_workers=False)


def start(limit: float) -> None:
    """Watch this process's collectives, each of which may last ``limit`` seconds.

    ``limit`` is ``env_cfg.dist_cfg.timeout`` of the config (default 1800).
    """
    global _watchdog
    if td.get_world_size() > 1 and _watchdog is None:
        # a store of its own: the group's blocks while one of its calls waits
        shared: Any = distributed_c10d._get_default_store()
        start = os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')
        store = distributed_c10d.PrefixStore(f'watch-{start}', second_connection(shared))
        _watchdog = Watchdog(store, td.get_rank(), td.get_world_size(), limit)
        _watchdog.start()


def stop() -> None:
    """Watch no longer."""
    global _watchdog
    if _watchdog is not None:
        _watchdog.stop()
        _watchdog = None


def suspects() -> str:
    """Say which ranks are silent or behind, as far as this process knows."""
    return _watchdog.suspects() if _watchdog is not None else 'which one, this process cannot tell'
