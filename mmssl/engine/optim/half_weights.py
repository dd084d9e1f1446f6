"""Weights of networks in half precision: cast block by block, not one by one at each use."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.distributed.tensor import DTensor
from torch.nn.modules.conv import _ConvNd

from ...core.io import unwrap_model
from ...core.protocols import LayeredNetwork


class Slot(NamedTuple):
    """Where a layer keeps a weight or bias that autocast would cast."""

    layer: nn.Module
    name: str


NECKS = r'(student|teacher)\.neck\.\w+'


class HalfWeights:
    """The linear and convolutional layers of networks and necks, whose weights are cast together.

    Autocast casts each weight in a kernel of its own, and each gradient back in another. Here a
    block's are cast in one; what is computed is equal to the bit, as these layers are what autocast
    runs in half precision. A block's gradients leave together, so that they can be exchanged while
    the blocks below are computed. Compiled networks are left alone, since their casts are fused,
    and so are shards, which are gathered in half precision, and heads, which may change a weight
    in their forward (SwAV).
    """

    def __init__(self, model: nn.Module) -> None:
        self.blocks: list[list[Slot]] = []
        for name, part in unwrap_model(model).named_modules():
            if isinstance(part, LayeredNetwork) and 'encode' not in vars(part):
                self.blocks += _blocks(part, part.layer_groups())
            elif re.fullmatch(NECKS, name):
                self.blocks += _blocks(part, [])

    @contextmanager
    def cast(self, dtype: torch.dtype) -> Iterator[None]:
        """Let the layers have weights of ``dtype``, through which gradients reach their own."""
        kept = [(slot, slot.layer._parameters[slot.name]) for b in self.blocks for slot in b]
        try:
            for block in self.blocks:
                own = [slot.layer._parameters[slot.name] for slot in block]
                halves = _Cast.apply(dtype, *own)  # type: ignore[no-untyped-call]
                for slot, half in zip(block, halves, strict=True):
                    slot.layer._parameters[slot.name] = half
            yield
        finally:
            for slot, weight in kept:
                slot.layer._parameters[slot.name] = weight


def _blocks(whole: Any, groups: list[list[Any]]) -> list[list[Slot]]:
    """Return the slots of each block in ``groups``, and those of the ``whole`` outside of all."""
    found: list[list[Slot]] = []
    seen: set[nn.Module] = set()
    parts = [part for group in groups for part in group if isinstance(part, nn.Module)]
    for block in [*parts, whole]:
        layers = [m for m in block.modules() if isinstance(m, (nn.Linear, _ConvNd))]
        slots = [
            Slot(layer, name)
            for layer in layers
            if layer not in seen
            for name in ('weight', 'bias')
            if _is_cast(layer._parameters.get(name))
        ]
        seen.update(layers)
        found += [slots] if slots else []
    return found


def _is_cast(weight: Tensor | None) -> bool:
    return weight is not None and weight.dtype == torch.float32 and not isinstance(weight, DTensor)


def _converted(tensors: list[Tensor], dtype: torch.dtype) -> list[Tensor]:
    """Return tensors (any shapes) in another type, in one launch."""
    found = [torch.empty_like(x, dtype=dtype) for x in tensors]
    if found:
        torch._foreach_copy_(found, tensors)
    return found


class _Cast(torch.autograd.Function):
    """Weights in half precision; their gradients in float32."""

    @staticmethod
    def forward(ctx: Any, dtype: torch.dtype, *weights: Tensor) -> tuple[Tensor, ...]:
        """Cast weights (any shapes)."""
        ctx.set_materialize_grads(False)
        return tuple(_converted(list(weights), dtype))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        """Cast gradients back; a layer that was not used has none."""
        wide = iter(_converted([g for g in grads if g is not None], torch.float32))
        return None, *(None if g is None else next(wide) for g in grads)
