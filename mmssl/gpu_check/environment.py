"""Versions and machine, arithmetic of the GPU, and every method on fake CUDA tensors."""

from typing import Any

import torch

from ..config.load import load_config
from ..core.device import missing_gpu
from ..engine.hooks.run_info_hook import machine, versions
from ..planning.device_contract import PRECISIONS, check_forward
from .parts import Parts, expect
from .recipes import SMALL


def check(parts: Parts) -> None:
    """Note what there is; compare products with the CPU's; ask every method for its devices."""
    with parts.part('versions and machine') as values:
        values |= versions() | machine() | dict(cuda=torch.version.cuda, no_gpu=missing_gpu())
        if parts.device == 'cuda':
            values |= _gpu()
    if parts.device == 'cuda':
        for name, kind in PRECISIONS.items():
            with parts.part(f'product in {name}') as values:
                values['off'] = _product_error(kind or torch.float32)
    for method in parts.each(SMALL):
        with parts.part(f'{method} on fake CUDA'):
            for precision in PRECISIONS:
                wrong = check_forward(load_config(SMALL[method]), precision)
                expect(not wrong, '; '.join(wrong))


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
