"""The length that fits a time, training and measuring, for commands on a folder of images."""

from functools import partial
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config

from ..engine.state.work_dir_files import training_files
from ..planning.throughput import seconds_of_a_step
from .options import option_words
from .own_images import device, divided_cores
from .subprocess_tools import call_tool, json_or_run


def fitting_length(images: int, cfg: Config, minutes: float, most: int) -> tuple[int, float, str]:
    """Return epochs that fit into the time, the share of the images they see, and why.

    There are at most ``most`` epochs. Steps of the config are timed on this machine.
    """
    threads, _ = divided_cores()
    if device() == 'cpu':
        torch.set_num_threads(threads)
    step = seconds_of_a_step(cfg, device())
    batch = cfg.train_dataloader.batch_size
    steps = max(images // batch, 1)
    epochs = int(60 * minutes / (steps * step))
    why = f'{step:.2g} s for a step of {batch} images here, {minutes:g} minutes'
    if epochs >= 1:
        return min(epochs, most), 1.0, why
    share = 60 * minutes / (steps * step)
    return 1, share, f'{why}: a pass over all takes {steps * step / 60:,.0f} minutes'


def call(tool: str, *args: str) -> None:
    """Run a tool, which leaves half of the cores to the processes that read images."""
    call_tool(tool, *args, threads=divided_cores()[0])


def train(config: str, work_dir: Path, epochs: int, options: dict[str, Any]) -> Path:
    """Train to the end, or go on, or do nothing; return the last checkpoint."""
    last = work_dir / f'epoch_{epochs}.pth'
    if last.is_file():
        print(f'{last} is there: trained already')
        return last
    for old in work_dir.glob('results/*.json'):
        old.unlink()
    resume = ['--resume'] if training_files(work_dir) else []
    call('train', config, '--work-dir', str(work_dir), *resume, *option_words(options))
    return last


def evaluate(config: str, work_dir: Path, last: Path, options: dict[str, Any]) -> dict[str, float]:
    """Measure kNN of raw pixels, the untrained and the trained network, each once.

    Returns top-1 in percent of 'pixels', 'random' and 'pretrained'.
    """
    folder = work_dir / 'results'
    folder.mkdir(exist_ok=True)
    runs = {
        'pixels': ('random', options | {'val_cfg.feature': 'pixels'}),
        'random': ('random', options),
        'pretrained': (last, options),
    }
    top1 = {}
    for name, (checkpoint, given) in runs.items():
        out = folder / f'{name}.json'
        where = ['--work-dir', str(work_dir / 'test'), '--out', str(out), '--out-item', 'metrics']
        command = ['test', config, str(checkpoint), *where, *option_words(given)]
        top1[name] = json_or_run(out, partial(call, *command))['knn/top1']
    return top1
