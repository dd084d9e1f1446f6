"""Projection of DINO, EsViT and iBOT: bottleneck MLP and weight-normalised prototypes."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...core import UserError
from ...core.kinds import Count
from ...functional.chunked import AUTO, ChunkSize, FactoredLogits
from ...registry import MODELS


class Prototypes(nn.Module):
    """Weight-normalised linear layer without bias: rows g * v / |v|.

    x (..., D) -> (..., K). The parameters are named as legacy weight norm names them
    (``weight_g`` (K, 1), ``weight_v`` (K, D)), whose modules cannot be copied for a teacher.
    ``train_scale=False`` freezes g at 1 (``norm_last_layer``). With ``chunk_size`` scores are left
    as their factors, for objectives that compute those of so many prototypes at a time. Raises
    UserError when it is below 1.
    """

    def __init__(
        self, dim: int, count: int, train_scale: bool = True, chunk_size: ChunkSize | None = None
    ) -> None:
        super().__init__()
        if isinstance(chunk_size, int) and chunk_size < 1:
            raise UserError(
                f'model.neck.chunk_size={chunk_size}: must be at least 1, {AUTO!r} or None',
                key='model.neck.chunk_size',
                value=chunk_size,
            )
        self.chunk_size = chunk_size
        self.weight_g = nn.Parameter(torch.ones(count, 1), requires_grad=train_scale)
        self.weight_v = nn.Parameter(nn.Linear(dim, count, bias=False).weight.detach())

    def weight(self) -> Tensor:
        """Return the effective weight (K, D)."""
        # one product of this size instead of two
        found: Tensor = self.weight_v * (self.weight_g / self.weight_v.norm(dim=1, keepdim=True))
        return found

    def forward(self, x: Tensor) -> Tensor | FactoredLogits:
        """Return the scores of prototypes: (..., D) -> (..., K), or their factors."""
        return (
            FactoredLogits(x, self.weight(), self.chunk_size)
            if self.chunk_size
            else F.linear(x, self.weight())
        )


@MODELS.register_module()
class DINONeck(nn.Module):
    """GELU MLP of widths ``dims``, L2 norm, then prototypes: x (B, dims[0]) -> (B, K).

    ``hidden_norm`` puts batch norm after the hidden layers. ``patch_prototypes`` adds a second
    last layer for patch tokens (iBOT); ``shared`` makes both one layer. Linear weights are
    truncated normal of std 0.02 (``DINOHead``). ``chunk_size`` (config key
    ``model.neck.chunk_size``, None by default): see `Prototypes`; the loss then needs a fraction
    of the memory (docs/benchmarks.md). Raises UserError when ``shared`` and both numbers of
    prototypes differ.
    """

    def __init__(
        self,
        dims: Sequence[int],
        prototypes: Count,
        train_scale: bool = True,
        hidden_norm: bool = False,
        patch_prototypes: Count | None = None,
        shared: bool = False,
        chunk_size: ChunkSize | None = None,
    ) -> None:
        super().__init__()
        if shared and patch_prototypes not in (None, prototypes):
            raise UserError(
                f'DINONeck.patch_prototypes={patch_prototypes}: with shared=True it must be left '
                f'out, or equal prototypes={prototypes}',
                key='DINONeck.patch_prototypes',
                value=patch_prototypes,
            )
        layers: list[nn.Module] = []
        for i, (width, following) in enumerate(pairwise(dims)):
            linear = nn.Linear(width, following)
            nn.init.trunc_normal_(linear.weight, std=0.02)
            nn.init.zeros_(linear.bias)
            layers.append(linear)
            if i < len(dims) - 2:
                layers += [nn.BatchNorm1d(following)] if hidden_norm else []
                layers.append(nn.GELU())
        self.mlp = nn.Sequential(*layers)
        self.in_dim = dims[0]
        self.out_dim = prototypes
        self.last_layer = Prototypes(dims[-1], prototypes, train_scale, chunk_size)
        self.last_layer2 = None
        if patch_prototypes is not None and not shared:
            self.last_layer2 = Prototypes(dims[-1], patch_prototypes, train_scale, chunk_size)

    def bottleneck(self, x: Tensor) -> Tensor:
        """Return unit rows: (..., C) -> (..., D); batch norms treat all rows alike."""
        x = self.mlp(x.flatten(0, -2)).unflatten(0, x.shape[:-1])
        # float16 squares overflow in the norm
        return F.normalize(x.float() if x.dtype == torch.float16 else x, dim=-1)

    def forward(self, x: Tensor, patches: bool = False) -> Tensor | FactoredLogits:
        """(..., C) -> scores (..., K), of the patch prototypes where x are ``patches``."""
        own = self.last_layer2 if patches else None
        found: Tensor | FactoredLogits = (own or self.last_layer)(self.bottleneck(x))
        return found
