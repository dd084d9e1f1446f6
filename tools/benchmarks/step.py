"""One training step of a config: time, memory, samples/s, share of the device's matmul rate.

Data is made before; a step is forward, backward, clipping, optimizer and teacher, as the runner
does them. Beside it in the same process, in turns, on the same images, from the same weights:

textbook    the config with every switch taken back: maps channel by channel, attention as products
            and softmax, all scores at once, optimizer and teacher tensor by tensor
mmpretrain  (--peer) OpenMMLab's own recipe of the same network, through its own train_step

Printed: median seconds, the median of the rounds' ratios (ours / other) and their range, samples/s,
peak MB above weights and optimizer state, and the textbook step's multiplications and additions per
second over those of one large product in the same rounds.
"""

import argparse
import copy
import statistics
import tempfile
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from rich.console import Console
from rich.table import Table
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from turns import in_turns, ratio

from mmssl.analysis.memory import Memory
from mmssl.analysis.rehearsal import images
from mmssl.apis import cli, load_config
from mmssl.checkpoint import load
from mmssl.core import Clock
from mmssl.engine import RuleConstructor
from mmssl.registry import MODELS

DEVICE = 'cuda' if torch.cuda.is_available() else 'cpu'
RATE = 1e-6  # weights stay where they are, so that every round computes the same
Step = Callable[[], float]


def textbook(cfg: Config) -> Config:
    """Return the config with its switches taken back."""
    cfg = copy.deepcopy(cfg)
    backbone = cfg.model.backbone
    backbone.pop('with_cp', None)
    if backbone.type == 'ResNet':
        backbone.channels_last = False
    for name in ('neck', 'teacher_neck'):
        (cfg.model.get(name) or {}).pop('block', None)
    cfg.model.pop('size_by_size', None)
    if cfg.optim_wrapper.optimizer.type in ('SGD', 'Adam', 'AdamW'):
        cfg.optim_wrapper.optimizer.update(foreach=False, fused=False)
    return cfg


@torch.no_grad()
def follow(model: Any) -> None:
    """Move the teacher tensor by tensor."""
    share, theirs = model.now(model.momentum), dict(model.teacher.named_parameters())
    for name, parameter in model.student.named_parameters():
        if name in theirs:
            theirs[name].mul_(share).add_(parameter, alpha=1 - share)


class Ours:
    """The step of a config, all of it as the runner makes it or ``plain``."""

    def __init__(self, cfg: Config, data: dict[str, Any], plain: bool = False) -> None:
        torch.manual_seed(0)
        cfg = textbook(cfg) if plain else copy.deepcopy(cfg)
        wrapper = dict(cfg.optim_wrapper)
        wrapper.pop('constructor', None)
        self.data, self.plain = data, plain
        self.model = MODELS.build(cfg.model).to(DEVICE).train()
        self.wrapper = RuleConstructor(wrapper, wrapper.pop('paramwise_cfg', None))(self.model)
        self.wrapper.clock = self.model.clock = Clock(2000, 100_000, 1000)
        for group in self.wrapper.optimizer.param_groups:
            group['lr'] = RATE
        move = (lambda: follow(self.model)) if plain else self.model.move_teacher
        moves = self.model.teacher_moves
        self.before, self.after = (move if moves == at else None for at in ('before', 'after'))

    def __call__(self) -> float:
        """Take a step, return its loss."""
        with sdpa_kernel(SDPBackend.MATH) if self.plain else nullcontext():
            if self.before:
                self.before()
            loss = self.model.train_step(self.data, self.wrapper)['loss']
            self.model.end_step()
            if self.after:
                self.after()
        return float(loss.detach())


def forms(cfg: Config, data: dict[str, Any], peer: str | None) -> dict[str, Step]:
    """Build what is compared, textbook first, with one set of weights."""
    built: dict[str, Any] = dict(textbook=Ours(cfg, data, plain=True), ours=Ours(cfg, data))
    if peer:
        from peers import PEERS  # beside this file

        built[peer] = PEERS[peer](cfg, data, RATE, DEVICE)
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / 'peer.pth'
            torch.save(dict(state_dict=built[peer].model.state_dict()), file)
            load(built['ours'].model, file, verbose=False)
    built['textbook'].model.load_state_dict(built['ours'].model.state_dict())
    return built


def product(dtype: torch.dtype) -> tuple[Step, float]:
    """One large product and its multiplications and additions."""
    side = 8192 if DEVICE == 'cuda' else 2048
    a, b = (torch.randn(side, side, device=DEVICE, dtype=dtype) for _ in range(2))
    return lambda: float((a @ b)[0, 0]), 2.0 * side**3


def peak(step: Step) -> float:
    """MB above what is there before a step."""
    if DEVICE == 'cpu':
        with Memory() as memory:
            step()
        return memory.peak / 1e6
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    step()
    return (torch.cuda.max_memory_allocated() - before) / 1e6


def compare(cfg: Config, batch: int, rounds: int, peer: str | None = None) -> list[list[str]]:
    """Return the table's rows."""
    built = forms(cfg, images(cfg, batch), peer)
    losses = {}
    for name, step in built.items():
        torch.manual_seed(0)  # drop path
        losses[name] = step()
    with FlopCounterMode(display=False) as counter:
        built['textbook']()
    work = counter.get_total_flops()
    multiply, multiplied = product(getattr(built['ours'].wrapper, 'amp', None) or torch.float32)
    taken = in_turns({**built, 'product': multiply}, rounds)
    rate = multiplied / statistics.median(taken.pop('product'))
    rows = []
    for name, times in taken.items():
        middle = statistics.median(times)
        rows.append(
            [
                name,
                f'{middle:.2f} ({min(times):.2f} to {max(times):.2f})',
                ratio(taken['ours'], times),
                f'{batch / middle:.2f}',
                f'{peak(built[name]):.0f}',
                f'{100 * work / middle / rate:.0f} %',
                f'{losses[name]:.6f}',
            ]
        )
    return rows


COLUMNS = ('form', 's', 'ours / form', 'samples/s', 'MB', 'of matmul rate', 'loss')


def main(argv: Sequence[str] | None = None) -> list[list[str]]:
    """Measure, print the table and return its rows."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('config')
    parser.add_argument('--batch', type=int, default=8)
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--peer', choices=['mmpretrain'])
    parser.add_argument('--cfg-options', nargs='+', action=cli.OptionAction, default={})
    args = parser.parse_args(argv)
    cfg = load_config(args.config, args.cfg_options)
    if DEVICE == 'cpu' or args.peer:  # a peer's recipe is measured in float32
        cfg.get('optim_wrapper', {}).pop('amp', None)
    MMLogger.get_instance('step', log_level='ERROR')
    rows = compare(cfg, args.batch, args.rounds, args.peer)
    table = Table(*COLUMNS)
    for row in rows:
        table.add_row(*row)
    console = Console(width=120)
    console.print(table)
    place = f'{DEVICE}, {torch.get_num_threads()} threads, torch {torch.__version__}'
    console.print(f'{Path(args.config).stem}, batch {args.batch}, {place}')
    return rows


if __name__ == '__main__':
    cli.run(main)
