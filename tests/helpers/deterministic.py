"""Operators that raise on CUDA where deterministic algorithms are asked for, found on a CPU.

Which ones is said by the docstring of `torch.use_deterministic_algorithms` (torch/__init__.py),
which names modules and functions; `RAISES` names the operators that they become.
"""

import re
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

RAISES: dict[str, list[str]] = {
    'nn.AvgPool3d': ['avg_pool3d_backward'],
    'nn.AdaptiveAvgPool2d': ['_adaptive_avg_pool2d_backward'],
    'nn.AdaptiveAvgPool3d': ['_adaptive_avg_pool3d_backward'],
    'nn.MaxPool3d': ['max_pool3d_with_indices_backward'],
    'nn.AdaptiveMaxPool2d': ['adaptive_max_pool2d_backward'],
    'nn.FractionalMaxPool2d': ['fractional_max_pool2d_backward'],
    'nn.FractionalMaxPool3d': ['fractional_max_pool3d_backward'],
    'nn.MaxUnpool1d': ['max_unpool2d'],
    'nn.MaxUnpool2d': ['max_unpool2d'],
    'nn.MaxUnpool3d': ['max_unpool3d'],
    'nn.functional.interpolate': [
        *('upsample_linear1d_backward', 'upsample_trilinear3d_backward'),
        *('upsample_bilinear2d_backward', '_upsample_bilinear2d_aa_backward'),
        *('upsample_bicubic2d_backward', '_upsample_bicubic2d_aa_backward'),
    ],
    'nn.ReflectionPad1d': ['reflection_pad1d_backward'],
    'nn.ReflectionPad2d': ['reflection_pad2d_backward'],
    'nn.ReflectionPad3d': ['reflection_pad3d_backward'],
    # of maps (native/cuda/NLLLoss2d.cu); over rows (B, C) one block sums in one order
    'nn.NLLLoss': ['nll_loss2d_forward'],
    'nn.CTCLoss': ['_ctc_loss_backward'],
    'nn.EmbeddingBag': ['_embedding_bag_dense_backward'],
    'Tensor.put_': ['put'],
    'histc': ['histc'],
    'bincount': ['bincount'],
    'median': ['median', 'nanmedian'],
    'nn.functional.grid_sample': ['grid_sampler_2d_backward', 'grid_sampler_3d_backward'],
    'cumsum': ['cumsum'],
    'Tensor.scatter_reduce': ['scatter_reduce'],
    'Tensor.resize_': ['resize'],
}
NAMES = {name for names in RAISES.values() for name in names}


def _is_real(arguments: dict[str, Any]) -> bool:
    kind = arguments['dtype'] or arguments['self'].dtype
    found: bool = kind.is_floating_point or kind.is_complex
    return found


# operators that raise for some arguments only, given by the names of their schema
CONDITIONS: dict[str, Callable[[dict[str, Any]], bool]] = {
    '_embedding_bag_dense_backward': lambda arguments: arguments['mode'] == 2,  # the maximum
    'bincount': lambda arguments: arguments['weights'] is not None,
    'cumsum': _is_real,
    'median': lambda arguments: 'dim' in arguments,  # with indices
    'nanmedian': lambda arguments: 'dim' in arguments,
    'resize': lambda arguments: arguments['self'].is_quantized,
    'scatter_reduce': lambda arguments: arguments['reduce'] == 'prod',
}


def documented() -> set[str]:
    """Return what the docstring of the installed torch lists as raising, without ``torch.``."""
    text = torch.use_deterministic_algorithms.__doc__ or ''
    listed = text.partition('operations will throw a\n')[2].partition('In addition')[0]
    return set(re.findall(r'^ *\* :\w+:`torch\.([\w.]+)`', listed, re.MULTILINE))


class RaisingOperators(TorchDispatchMode):
    """Record in ``found`` the names of operators, of forward and backward, that would raise."""

    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()
        self.count = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        self.count += 1
        name = func.overloadpacket.__name__.removesuffix('_')
        if name in NAMES:
            schema = func._schema.arguments
            given = dict(zip((a.name for a in schema), args, strict=False)) | kwargs
            arguments = {a.name: a.default_value for a in schema} | given
            if CONDITIONS.get(name, lambda _: True)(arguments):
                self.found.add(name)
        return func(*args, **kwargs)
