"""Garbage collection by hand, at the same iterations on all ranks."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

INTERVAL = 50  # iterations between collections of young objects


@contextmanager
def collected_by_hand() -> Iterator[None]:
    """Let Python collect nothing by itself meanwhile.

    A collection of all objects takes 0.2 s; each rank would take it at another step, and all
    others wait for it in the exchange of gradients.
    """
    by_itself = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if by_itself:
            gc.enable()


def collect_after(iteration: int) -> None:
    """Collect young objects after every so many iterations; what is older waits for the epoch."""
    if iteration % INTERVAL == 0:
        gc.collect(1)
