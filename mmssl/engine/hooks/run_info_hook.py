"""Hook that writes run.json: command, versions, machine, data, time and memory of a run."""

import importlib
import json
import os
import platform
import resource
import shlex
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from mmengine.hooks import Hook

from ...core import dist
from ...core.cores import usable
from ...core.device import missing_gpu
from ...core.io import atomic_write, read_sessions, unwrap_model
from ...core.protocols import DescribedData
from ...registry import HOOKS
from ...version import __version__

if TYPE_CHECKING:
    from ..runner import Runner

FILE = 'run.json'
PACKAGES = ('torch', 'torchvision', 'timm', 'mmengine', 'numpy')


def command_line() -> str:
    """Return the command that started this process, as it can be typed again."""
    tool, *words = sys.argv
    begin = tool if tool.startswith('mmssl ') else f'python {shlex.quote(tool)}'
    return ' '.join([begin, *map(shlex.quote, words)])


def versions() -> dict[str, str]:
    """Return the versions of Python, mmssl and what its numbers depend on."""
    found = {name: importlib.import_module(name).__version__ for name in PACKAGES}
    return {'mmssl': __version__, 'python': platform.python_version(), **found}


def _processor() -> str:
    try:
        lines = Path('/proc/cpuinfo').read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(':')[2].strip() for line in lines if line.startswith('model name')]
    return names[0] if names else platform.machine()


def machine() -> dict[str, Any]:
    """Return names of processor and GPUs, usable cores, threads, and memory in GiB."""
    pages = os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return dict(
        system=f'{platform.system()} {platform.machine()}',
        processor=_processor(),
        cores=len(usable()[1]),
        threads=torch.get_num_threads(),
        memory=round(pages / 2**30, 1),
        gpus=gpus,
        processes=dist.world_size(),
    )


def peak_memory() -> float:
    """Return the peak memory of this process in MiB: the GPU allocator's, or the process's."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@HOOKS.register_module()
class RunInfoHook(Hook):
    """Keep ``run.json`` in the work dir, one entry for each start of `train`.

    An entry has command, versions, machine, data, epochs reached, wall time (s) and peak memory
    (MiB, of the first process); it is renewed after every epoch, so that an interrupted run has
    one too.
    """

    priority = 'LOWEST'

    def before_train(self, runner: 'Runner') -> None:
        """Begin an entry; a resumed run keeps the earlier ones."""
        self.begin = time.time()
        self.path = Path(runner.work_dir) / FILE
        resumed = runner.iter > 0 and self.path.is_file()
        self.earlier = read_sessions(self.path) if resumed else []
        dataset = runner.train_dataloader.dataset
        described = isinstance(dataset, DescribedData)
        data = dataset.describe() if described else f'{len(dataset)} items'
        self.entry = dict(
            command=command_line(),
            config=str(Path(runner.cfg.filename).resolve()) if runner.cfg.filename else '',
            started=time.strftime('%Y-%m-%d %H:%M:%S'),
            model=type(unwrap_model(runner.model)).__name__,
            data=data,
            seed=runner.seed,
            versions=versions(),
            machine=machine(),
        )
        device = ', '.join(self.entry['machine']['gpus']) or self.entry['machine']['processor']
        if reason := missing_gpu():
            device += f' ({reason})'
        runner.logger.info(
            f'{self.entry["model"]} on {self.entry["data"]}: {runner.max_epochs} epochs of '
            f'{len(runner.train_dataloader)} steps on {device}; all details in {runner.log_dir}'
        )

    def after_train_epoch(self, runner: 'Runner') -> None:
        """Write what is known by now."""
        self._write(runner, runner.epoch + 1)

    def after_train(self, runner: 'Runner') -> None:
        """Write the last state, which includes the last monitoring."""
        self._write(runner, runner.epoch)

    def _write(self, runner: 'Runner', epoch: int) -> None:
        if dist.rank():
            return
        self.entry.update(
            epoch=epoch,
            max_epochs=runner.max_epochs,
            seconds=round(time.time() - self.begin, 1),
            peak_memory=round(peak_memory()),
        )
        sessions = {'sessions': [*self.earlier, self.entry]}
        atomic_write(self.path, json.dumps(sessions, indent=2) + '\n')
