"""One training step of a config: time, memory, samples/s, share of the device's matmul rate.

Data is made before; a step is forward, backward, clipping, optimizer and teacher, as the runner
does them. Beside it, on the same images, from the same weights:

textbook    the config with every switch taken back: maps channel by channel, attention as products
            and softmax, all scores at once, teacher and optimizer (not LARS, LARC) by tensor
mmpretrain  (--peer) OpenMMLab's own recipe of the same network, through its own train_step

MB are those above weights and optimizer state. The matmul rate is the textbook step's
multiplications and additions per second over those of one large product in the same rounds.
``--dry`` takes no step and counts bytes alone, those of a GPU at any batch
(mmssl.planning.fake_tensor_step).
"""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from mmssl.apis import load_config
from mmssl.checkpoint import load
from mmssl.engine import compile_networks
from mmssl.planning.fake_tensor_step import FakeTensorStep
from mmssl.planning.standalone_step import StandaloneTraining, noise_batch
from mmssl.registry import MODELS

from .peers import MMPretrain
from .timing import DEVICE, Builders, Comparison, Taken, counted, spread

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
    if backbone.type == 'VisionTransformer':
        backbone.pack_crops = False
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
        self.model = MODELS.build(cfg.model).to(DEVICE)
        self.data = data
        self.plain = plain
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


def forms(cfg: Config, data: dict[str, Any], peer: bool, scratch: Path) -> dict[str, Any]:
    """Build what is compared, textbook first, with one set of weights."""
    built: dict[str, Any] = dict(textbook=Ours(cfg, data, plain=True), ours=Ours(cfg, data))
    if peer:
        built['mmpretrain'] = MMPretrain(cfg, data, RATE, DEVICE)
        torch.save(dict(state_dict=built['mmpretrain'].model.state_dict()), scratch / 'peer.pth')
        load(built['ours'].model, scratch / 'peer.pth', verbose=False)
    built['textbook'].model.load_state_dict(built['ours'].model.state_dict())
    return built


def product(dtype: torch.dtype) -> tuple[Step, float]:
    """One large product and its multiplications and additions."""
    side = 8192 if DEVICE == 'cuda' else 2048
    a, b = (torch.randn(side, side, device=DEVICE, dtype=dtype) for _ in range(2))
    return lambda: float((a @ b)[0, 0]), 2.0 * side**3


def steps(cfg: Config, batch: int, peer: bool, scratch: Path) -> Comparison:
    """Real steps, and the product that they are told in."""
    built = forms(cfg, noise_batch(cfg, batch), peer, scratch)
    losses = {}
    for name, step in built.items():
        torch.manual_seed(0)  # drop path
        losses[name] = step()
    with FlopCounterMode(display=False) as counter:
        built['textbook']()
    work = counter.get_total_flops()
    multiply, multiplied = product(getattr(built['ours'].wrapper, 'amp', None) or torch.float32)

    def facts(name: str, taken: Taken) -> dict[str, Any]:
        if name == 'product':
            return {}
        middle, unit = (spread(taken[key])['median'] for key in (name, 'product'))
        return {
            'samples/s': batch / middle,
            'of matmul rate': f'{100 * work / middle * unit / multiplied:.0f} %',
            'loss': f'{losses[name]:.6f}',
        }

    unseen = {'ours'} if cfg.get('compile') and DEVICE == 'cpu' else set()  # by Memory
    contestants = {**built, 'product': multiply}
    references = ['textbook', 'mmpretrain']
    return Comparison(contestants, references, peaks=set(built) - unseen, facts=facts)


def dry_peak(cfg: Config, batch: int, plain: bool) -> float:
    """Return the peak of a step without content, MB above weights and optimizer state."""
    form = textbook(cfg) if plain else cfg
    form.optim_wrapper.optimizer = cfg.optim_wrapper.optimizer  # a loop asks for numbers
    run = FakeTensorStep(form)
    before = run.memory.now
    with kernels(plain):
        return (run.peak(batch) - before) / 1e6


def bytes_alone(cfg: Config, batch: int, _: Path) -> Comparison:
    """Peaks of steps without content."""
    plain = {'textbook': True, 'ours': False}
    contestants = {name: partial(dry_peak, cfg, batch, value) for name, value in plain.items()}
    return Comparison(contestants, ['textbook'], unit='MB', measure=counted, once=True)


def comparisons(
    config: str,
    batch: int = 8,
    peer: bool = False,
    dry: bool = False,
    cfg_options: dict[str, Any] = {},  # noqa: B006
) -> Builders:
    """One of the config."""
    cfg = load_config(config, cfg_options)
    wrapper = cfg.get('optim_wrapper', {})
    wrapper.pop('accumulative_counts', None)  # one batch of what an update gathers
    if not dry and (DEVICE == 'cpu' or peer):  # a peer's recipe is measured in float32
        wrapper.pop('amp', None)
    build = partial(bytes_alone, cfg, batch) if dry else partial(steps, cfg, batch, peer)
    return {f'{Path(config).stem}, batch {batch}': build}
