"""Versions and machine, arithmetic of the GPU, and every method on fake CUDA tensors."""

import warnings
from typing import Any

import torch
from mmengine.config import Config
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._pytree import tree_map

from ..config.load import load_config
from ..core import Progress
from ..core.device import missing_gpu
from ..engine.hooks.run_info_hook import machine, versions
from ..planning.fake_tensor_step import DataDependentResults
from ..planning.standalone_step import noise_batch
from .parts import Parts, expect
from .recipes import SMALL, build

FORMATS = {'float32': None, 'bfloat16': torch.bfloat16, 'float16': torch.float16}


def check(parts: Parts) -> None:
    """Note what there is; compare products with the CPU's; ask every method for its devices."""
    with parts.part('versions and machine') as values:
        values |= versions() | machine() | dict(cuda=torch.version.cuda, no_gpu=missing_gpu())
        if parts.device == 'cuda':
            values |= _gpu()
    if parts.device == 'cuda':
        for name, kind in FORMATS.items():
            with parts.part(f'product in {name}') as values:
                values['off'] = _product_error(kind or torch.float32)
    for method in parts.each(SMALL):
        with parts.part(f'{method} on fake CUDA'):
            for kind in FORMATS.values():
                forward_on_fake_cuda(load_config(SMALL[method]), kind)


def _gpu() -> dict[str, Any]:
    """Return what the driver says of the current GPU."""
    properties = torch.cuda.get_device_properties(0)
    free, total = torch.cuda.mem_get_info()
    return dict(
        capability=f'{properties.major}.{properties.minor}',
        multiprocessors=properties.multi_processor_count,
        memory_gib=total / 2**30,
        free_gib=free / 2**30,
        cudnn=torch.backends.cudnn.version(),
        bfloat16=torch.cuda.is_bf16_supported(including_emulation=False),
        nccl='.'.join(map(str, torch.cuda.nccl.version())),
    )


def _product_error(kind: torch.dtype) -> float:
    """Return how far a product of the GPU is from the CPU's, relative to its largest element."""
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(256, 256, generator=generator).to(kind) for _ in (0, 1))
    expected = a.double() @ b.double()
    found = (a.cuda() @ b.cuda()).double().cpu()
    error = float((found - expected).abs().max() / expected.abs().max())
    limit = 4 * torch.finfo(kind).eps
    expect(error < limit, f'a product of 256 x 256 is {error:.1e} off, {limit:.1e} is rounding')
    return error


def forward_on_fake_cuda(cfg: Config, kind: torch.dtype | None) -> None:
    """Take a recipe's forward on tensors without numbers that call themselves CUDA's.

    CUDA's own table of autocast applies, and mixing devices raises. Raises AssertionError for a
    loss that is not float32.
    """
    model: Any = build(cfg, 'meta').train()
    model.progress = Progress(3, 10, 5)
    batch = noise_batch(cfg, 4)
    with (
        FakeTensorMode(allow_non_fake_inputs=True),
        DataDependentResults(0.2),
        warnings.catch_warnings(),
    ):
        model.to_empty(device='cuda')
        batch = tree_map(lambda x: x.new_empty(x.shape, device='cuda'), batch)
        model._set_device(torch.device('cuda'))
        before = torch.is_autocast_enabled('cuda'), torch.get_autocast_dtype('cuda')
        # torch.autocast would turn itself off without a GPU
        torch.set_autocast_enabled('cuda', kind is not None)
        torch.set_autocast_dtype('cuda', kind or torch.float16)
        try:
            losses = model(**model.data_preprocessor(batch, True), mode='loss')
        finally:
            torch.set_autocast_enabled('cuda', before[0])
            torch.set_autocast_dtype('cuda', before[1])
            torch.clear_autocast_cache()
    loss = losses['loss']
    expect(loss.dtype is torch.float32, f'the loss is {loss.dtype}')
    expect(loss.device.type == 'cuda', f'the loss is on {loss.device}')
