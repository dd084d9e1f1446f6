"""Profile of a step on a GPU: launches, busy share, copies, and where the host waits for it."""

import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from ..config.load import load_config
from ..planning.standalone_step import StandaloneTraining, noise_batch
from .compiling import RECIPES
from .parts import Parts
from .recipes import CONFIGS, build, make_runner, small_config, train, write_shapes
from .timing import on_device, synchronize, union

STEPS = 5
BATCH = 64
# where a wait is meant: 'file function' -> why
ALLOWED = {
    'core/host_values.py read_together': 'what the host needs of an update, once',
    'functional/embedding_stats.py rankme': 'the eigenvalue solver, every interval',
}


def check(parts: Parts) -> None:
    """Profile a ViT-S, and list the waits of every method's runner."""
    with parts.part('five steps of a ViT-S, MoCo v3') as values:
        values |= profile_steps(parts.device)
    data = write_shapes(parts.folder / 'shapes')
    for method in parts.each(('mocov3', 'esvit', 'ibot', 'moby')):
        with parts.part(f'waits of {method}') as values:
            runner = make_runner(
                small_config(method, data, train_cfg__val_interval=100), parts.folder / method
            )
            with waits() as found:
                train(runner)
            values |= dict(found)
            values['not_expected'] = sorted(set(found) - set(ALLOWED))


def profile_steps(device: str) -> dict[str, Any]:
    """Return busy share, launches and copies of a step, from some steps under the profiler."""
    cfg = load_config(CONFIGS / next(iter(RECIPES.values())), {'optim_wrapper.amp': 'bfloat16'})
    training = StandaloneTraining(cfg, build(cfg, device))
    data = on_device(noise_batch(cfg, BATCH), device)
    training.step(data)
    synchronize(device)
    kinds = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * (device == 'cuda')
    with profile(activities=kinds) as found:
        for _ in range(STEPS):
            training.step(data)
        synchronize(device)
    return summary(found.events() or [], STEPS)


def summary(events: Any, steps: int) -> dict[str, Any]:
    """Summarise the events of a profile; times of an event are in microseconds."""
    on_gpu = [e for e in events if e.device_type.name == 'CUDA']
    whole = [(e.time_range.start, e.time_range.end) for e in events]
    span = max((end for _, end in whole), default=0) - min((begin for begin, _ in whole), default=0)
    busy = union([(e.time_range.start, e.time_range.end) for e in on_gpu])
    copies = Counter(e.name for e in on_gpu if 'Memcpy' in e.name)
    return dict(
        busy_share=busy / span if span else 0.0,
        step_ms=span / steps / 1e3,
        launches=sum('LaunchKernel' in e.name for e in events) / steps,
        pageable_copies=sum(n for name, n in copies.items() if 'Pageable' in name) / steps,
        copies={name: count / steps for name, count in copies.items()},
    )


@contextmanager
def waits() -> Iterator[Counter[str]]:
    """Count, by place, where the host waits for the GPU."""
    found: Counter[str] = Counter()
    available = torch.cuda.is_available()

    def note(message: Warning | str, *_: Any, **__: Any) -> None:
        if 'synchronizing CUDA operation' in str(message) and (place := _place()):
            found[place] += 1

    with warnings.catch_warnings():
        warnings.simplefilter('always')
        show: Callable[..., Any] = warnings.showwarning
        warnings.showwarning = note
        try:
            if available:
                torch.cuda.set_sync_debug_mode('warn')
            yield found
        finally:
            if available:
                torch.cuda.set_sync_debug_mode('default')
            warnings.showwarning = show


def _place() -> str:
    """Return file and function of the innermost frame of ours or mmengine's, '' in a check."""
    for frame in reversed(traceback.extract_stack()[:-2]):
        for package in ('/mmssl/', '/mmengine/'):
            if package in frame.filename:
                file = frame.filename.rpartition(package)[2]
                return '' if file.startswith('gpu_check/') else f'{file} {frame.name}'
    return ''
