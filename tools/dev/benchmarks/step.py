"""One training step of a config: time, memory, samples/s, share of the device's matmul rate.

Data is made before; a step is forward, backward, clipping, optimizer and teacher, as the runner
does them. Beside it in the same process, in turns, on the same images, from the same weights:

textbook    the config with every switch taken back: maps channel by channel, attention as products
            and softmax, all scores at once, teacher and optimizer (not LARS, LARC) by tensor
mmpretrain  (--peer) OpenMMLab's own recipe of the same network, through its own train_step

Printed: median seconds, the median of the rounds' ratios (ours / other) and their range, samples/s,
peak MB above weights and optimizer state, and the textbook step's multiplications and additions per
second over those of one large product in the same rounds. ``--dry`` takes no step and counts bytes
alone, those of a GPU at any batch (mmssl.planning.fake_tensor_step).
"""

import argparse
import copy
import statistics
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from rich.console import Console
from rich.table import Table
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from turns import DEVICE, in_turns, peak, ratio

from mmssl.apis import load_config
from mmssl.checkpoint import load
from mmssl.cli.options import OptionAction, run_tool
from mmssl.engine import compile_networks
from mmssl.planning.fake_tensor_step import FakeTensorStep
from mmssl.planning.standalone_step import StandaloneTraining, noise_batch
from mmssl.registry import MODELS

RATE = 1e-6  # weights stay where they are, so that every round computes the same
Step = Callable[[], float]


def textbook(cfg: Config) -> Config:
    """Return the config with its switches taken back."""
    cfg = copy.deepcopy(cfg)
    cfg.pop('compile', None)
    backbone = cfg.model.backbone
    backbone.pop('with_cp', None)
    if backbone.type == 'ResNet':
        backbone.channels_last = False
    for name in ('neck', 'teacher_neck'):
        (cfg.model.get(name) or {}).pop('chunk_size', None)
    if cfg.optim_wrapper.optimizer.type in ('SGD', 'Adam', 'AdamW'):
        cfg.optim_wrapper.optimizer.update(foreach=False, fused=False)
    return cfg


@torch.no_grad()
def follow(model: Any) -> None:
    """Move the teacher tensor by tensor."""
    share, theirs = model.momentum.value_at(*model.progress), dict(model.teacher.named_parameters())
    for name, parameter in model.student.named_parameters():
        if name in theirs:
            theirs[name].mul_(share).add_(parameter, alpha=1 - share)


class Ours:
    """The update of a config, all of it as the runner makes it or ``plain``."""

    def __init__(self, cfg: Config, data: dict[str, Any], plain: bool = False) -> None:
        torch.manual_seed(0)
        cfg = textbook(cfg) if plain else cfg
        self.model, self.data, self.plain = MODELS.build(cfg.model).to(DEVICE), data, plain
        if plain:
            self.model.update_teacher = partial(follow, self.model)
        self.training = StandaloneTraining(cfg, self.model)
        compile_networks(self.model, cfg.get('compile'))
        self.wrapper = self.training.wrapper
        for group in self.wrapper.optimizer.param_groups:
            group['lr'] = RATE

    def __call__(self) -> float:
        """Update once, return the loss of the last batch."""
        with kernels(self.plain):
            return float(self.training.step(self.data))


@contextmanager
def kernels(plain: bool) -> Iterator[None]:
    """Attend by products and softmax where ``plain``, in half precision where the networks are."""
    if not plain:
        yield
        return
    before = torch.backends.cuda.fp16_bf16_reduction_math_sdp_allowed()
    torch.backends.cuda.allow_fp16_bf16_reduction_math_sdp(True)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.cuda.allow_fp16_bf16_reduction_math_sdp(before)


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


def dry(cfg: Config, batch: int) -> list[list[str]]:
    """Return names, peak MB above weights and optimizer state, and what ours is of each."""
    peaks = {}
    for name, plain in (('textbook', True), ('ours', False)):
        form = textbook(cfg) if plain else cfg
        form.optim_wrapper.optimizer = cfg.optim_wrapper.optimizer  # a loop asks for numbers
        run = FakeTensorStep(form)
        before = run.memory.now
        with kernels(plain):
            peaks[name] = (run.peak(batch) - before) / 1e6
    return [[n, f'{mb:.0f}', f'{peaks["ours"] / mb:.3f}'] for n, mb in peaks.items()]


def compare(cfg: Config, batch: int, rounds: int, peer: str | None = None) -> list[list[str]]:
    """Return the table's rows."""
    built = forms(cfg, noise_batch(cfg, batch), peer)
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
    unseen = {'ours'} if cfg.get('compile') and DEVICE == 'cpu' else set()  # by Memory
    for name, times in taken.items():
        middle = statistics.median(times)
        rows.append(
            [
                name,
                f'{middle:.2f} ({min(times):.2f} to {max(times):.2f})',
                ratio(taken['ours'], times),
                f'{batch / middle:.2f}',
                '-' if name in unseen else f'{peak(built[name]):.0f}',
                f'{100 * work / middle / rate:.0f} %',
                f'{losses[name]:.6f}',
            ]
        )
    return rows


DRY = ('form', 'MB', 'ours / form')
COLUMNS = ('form', 's', 'ours / form', 'samples/s', 'MB', 'of matmul rate', 'loss')


def main(argv: Sequence[str] | None = None) -> list[list[str]]:
    """Measure, print the table and return its rows."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('config')
    parser.add_argument('--batch', type=int, default=8)
    parser.add_argument('--rounds', type=int, default=5)
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument('--peer', choices=['mmpretrain'])
    kind.add_argument('--dry', action='store_true', help='bytes alone, of a GPU, at any batch')
    parser.add_argument('--cfg-options', nargs='+', action=OptionAction, default={})
    args = parser.parse_args(argv)
    cfg = load_config(args.config, args.cfg_options)
    wrapper = cfg.get('optim_wrapper', {})
    wrapper.pop('accumulative_counts', None)  # one batch of what an update gathers
    if not args.dry and (DEVICE == 'cpu' or args.peer):  # a peer's recipe is measured in float32
        wrapper.pop('amp', None)
    MMLogger.get_instance('step', log_level='ERROR')
    rows = dry(cfg, args.batch) if args.dry else compare(cfg, args.batch, args.rounds, args.peer)
    table = Table(*(DRY if args.dry else COLUMNS))
    for row in rows:
        table.add_row(*row)
    console = Console(width=120)
    console.print(table)
    place = 'dry' if args.dry else f'{DEVICE}, {torch.get_num_threads()} threads'
    console.print(
        f'{Path(args.config).stem}, batch {args.batch}, {place}, torch {torch.__version__}'
    )
    return rows


if __name__ == '__main__':
    run_tool(main)
