"""The checks of ``make gpu``, most important first, and how long each may take."""

from collections.abc import Callable
from importlib import import_module
from typing import Literal, NamedTuple

from .parts import Parts

Kind = Literal['check', 'measurement', 'learning']


class Check(NamedTuple):
    """A check that runs in a process of its own.

    ``seconds`` bound it on a GPU, ``cpu_seconds`` on a machine without one; 0 where it needs a
    GPU. ``function`` is 'module:name' of what runs it, of this package.
    """

    name: str
    title: str
    kind: Kind
    seconds: float
    cpu_seconds: float
    function: str

    def limit(self, device: str) -> float:
        """Return the seconds that it may take on a device; 0 where it cannot run."""
        return self.seconds if device == 'cuda' else self.cpu_seconds

    def load(self) -> Callable[[Parts], None]:
        """Return the function that runs it."""
        module, _, name = self.function.partition(':')
        found: Callable[[Parts], None] = getattr(import_module(f'{__package__}.{module}'), name)
        return found


CHECKS = (
    Check('environment', 'Versions, and every method on tensors that call themselves CUDA\'s',
          'check', 20, 30, 'environment:check'),
    Check('golden', 'Recorded steps, probes and kNN of the official codes',
          'check', 35, 40, 'golden_steps:check'),
    Check('methods', 'Every method and number format: save, stop by signal, resume',
          'check', 55, 60, 'methods:check'),
    Check('processes', 'Collectives, two processes, FullyShard, synchronised batch norms',
          'check', 40, 90, 'processes:check'),
    Check('compile', 'torch.compile against eager', 'measurement', 45, 0, 'compiling:check'),
    Check('speed', 'Step time, images a second and memory of every method',
          'measurement', 90, 0, 'speed:check'),
    Check('profile', 'What a step asks of the GPU', 'measurement', 20, 0, 'profiling:check'),
    Check('loader', 'The loader alone', 'measurement', 20, 0, 'loader_rate:check'),
    Check('learning', 'A short training: kNN before and after',
          'learning', 130, 0, 'learning:check'),
)  # fmt: skip
