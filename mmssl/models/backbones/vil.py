"""EsViT's ViL (multi-scale vision longformer): sliding windows, global tokens.

Parameter names are those of EsViT's files (``models/vision_longformer.py``).
"""

import math
from collections.abc import Iterator
from typing import Any

import torch
from timm.layers import DropPath, Mlp
from torch import Tensor, nn

from ...core import UserError
from ...core.kinds import Count, DropRate
from ...registry import MODELS
from .base import Backbone
from .tokens import Tokens
from .vil_attention import FullAttention, SlidingAttention

VIL_2262 = (
    'l1,h3,d96,n2,s1,g1,p4,f7,a0_l2,h6,d192,n2,s1,g1,p2,f7,a0_'
    'l3,h12,d384,n6,s0,g1,p2,f7,a0_l4,h24,d768,n2,s0,g0,p2,f7,a0'
)
DEFAULTS = dict(l=1, h=3, d=192, n=1, s=1, g=1, p=2, f=7, a=1, r=0)


def parse_arch(arch: str) -> list[dict[str, int]]:
    """Parse stages 'l1,h3,d96,...' joined by '_': one letter and one number each.

    h heads, d width, n blocks, s sliding (1) or full (0) attention, g global tokens, p patch, f
    window. Raises UserError for unknown letters and for options nothing published uses.
    """
    stages: list[dict[str, int]] = []
    for i, text in enumerate(arch.split('_')):
        stage = dict(DEFAULTS)
        for item in text.split(','):
            if item[:1] not in DEFAULTS or not item[1:].isdigit():
                raise UserError(
                    f"ViL arch: '{item}' is not a letter of {''.join(DEFAULTS)} and a number",
                    key='arch',
                    value=arch,
                )
            stage[item[0]] = int(item[1:])
        if stage['l'] != i + 1:
            raise UserError(
                f'ViL arch: stage {i + 1} is called l{stage["l"]}; count stages from l1',
                key='arch',
                value=arch,
            )
        if stage['a'] or stage['r']:
            raise UserError(
                'ViL arch: absolute positions (a1) and pooled keys (r1) are not supported; give a0 '
                'in each stage, and no r',
                key='arch',
                value=arch,
            )
        if stages and not stages[-1]['s']:
            stage['s'] = 0  # after one full stage all later ones are full
        stages.append(stage)
    return stages


class Embed(nn.Module):
    """Patch projection, norm, and the stage's own global tokens."""

    def __init__(self, inner: int, dim: int, patch: int, tokens: int) -> None:
        super().__init__()
        self.tokens = tokens
        self.proj = nn.Conv2d(inner, dim, patch, patch)
        self.norm_embed = nn.LayerNorm(dim, eps=1e-6)
        if tokens:
            self.cls_token = nn.Parameter(torch.zeros(1, tokens, dim))
            nn.init.trunc_normal_(self.cls_token, std=0.02)

    def forward(self, x: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """(B, C, H, W) -> tokens (B, g + h*w, dim) and their grid (h, w)."""
        x = self.proj(x)
        grid = (x.shape[2], x.shape[3])
        x = self.norm_embed(x.flatten(2).transpose(1, 2))
        if self.tokens:
            x = torch.cat([self.cls_token.expand(x.shape[0], -1, -1), x], 1)
        return x, grid


class AttentionBlock(nn.Module):
    """Residual attention on normed tokens."""

    def __init__(self, dim: int, attn: nn.Module, drop: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.attn = attn
        self.drop_path = DropPath(drop)

    def forward(self, x: Tensor, grid: tuple[int, int]) -> Tensor:
        """Tokens (B, g + N, C) -> the same shape."""
        found: Tensor = x + self.drop_path(self.attn(self.norm(x), grid))
        return found


class MlpBlock(nn.Module):
    """Residual MLP on normed tokens."""

    def __init__(self, dim: int, ratio: float, drop: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = Mlp(dim, int(dim * ratio))
        self.drop_path = DropPath(drop)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens (B, g + N, C) -> the same shape."""
        found: Tensor = x + self.drop_path(self.mlp(self.norm(x)))
        return found


@MODELS.register_module()
class ViL(Backbone):
    """Vision longformer of EsViT; the default is the published ``vil_2262``.

    Features are the mean of the final tokens, or the last stage's global token where it has
    one. ``mode`` is that of `SlidingAttention`; ``img_size`` fixes the bias tables of full
    stages. Raises UserError for an ``arch`` that `parse_arch` refuses.
    """

    def __init__(
        self,
        arch: str = VIL_2262,
        img_size: Count = 224,
        mlp_ratio: float = 4.0,
        mode: int = 1,
        drop_path_rate: DropRate = 0.0,
        **dense: Any,
    ) -> None:
        super().__init__(**dense)
        self.stages = parse_arch(arch)
        if mode > 0:
            self.not_compilable = (
                f'ViL of mode={mode} draws at every call; take model.backbone.mode=0'
            )
        depth = sum(stage['n'] for stage in self.stages)
        drops = iter(torch.linspace(0, drop_path_rate, depth, device='cpu').tolist())
        self.net, inner, side = nn.Module(), self.in_channels, img_size
        for i, stage in enumerate(self.stages):
            dim, side = stage['d'], side // stage['p']
            layers: list[nn.Module] = [Embed(inner, dim, stage['p'], stage['g'])]
            for _ in range(stage['n']):
                drop = next(drops)
                attention = (
                    SlidingAttention(dim, stage['h'], stage['g'], stage['f'], mode)
                    if stage['s']
                    else FullAttention(dim, stage['h'], stage['g'], side)
                )
                layers += [AttentionBlock(dim, attention, drop), MlpBlock(dim, mlp_ratio, drop)]
            setattr(self.net, f'layer{i + 1}', nn.Sequential(*layers))
            inner = dim
        self.net.norm = nn.LayerNorm(inner, eps=1e-6)
        self.widths = tuple(stage['d'] for stage in self.stages)
        patches = [stage['p'] for stage in self.stages]
        self.strides = tuple(math.prod(patches[: i + 1]) for i in range(len(patches)))
        self.num_features = self.widths[-1]
        counts = [stage['n'] for stage in self.stages]
        self.stage_ends = tuple(sum(counts[: i + 1]) - 1 for i in range(len(counts)))
        self.apply(self._init)
        self.finalize()

    @staticmethod
    def _init(module: nn.Module) -> None:
        if isinstance(module, nn.Linear):
            nn.init.trunc_normal_(module.weight, std=0.02)
            nn.init.zeros_(module.bias)

    def iter_blocks(self, x: Tensor, mask: Tensor | None = None) -> Iterator[Tokens]:
        """Yield global tokens (B, g, C) and grid (B, h, w, C) after each block of x (B, 3, H, W).

        Raises UserError for a mask, and for images smaller than one token of the last stage.
        """
        if mask is not None:
            raise UserError(
                'ViL takes no patch mask; use a ViT or a Swin for masked objectives',
                key='mask',
                value=tuple(mask.shape),
            )
        least, (height, width) = self.strides[-1], x.shape[-2:]
        if min(height, width) < least:
            raise UserError(
                f'ViL needs images of at least {least} x {least} px, got {height} x {width}',
                key='x',
                value=tuple(x.shape),
            )
        for i, stage in enumerate(self.stages):
            layer, g = self.net.get_submodule(f'layer{i + 1}'), stage['g']
            tokens, grid = layer[0](x)
            for j in range(stage['n']):
                pair = layer[1 + 2 * j : 3 + 2 * j]
                tokens = self.run(pair, self._block, tokens, pair, grid)
                last = tokens[:, g:].unflatten(1, grid)  # (B, h, w, C)
                yield Tokens(tokens[:, :g] if g else None, last)
            x = last.permute(0, 3, 1, 2)  # (B, C, h, w)

    @staticmethod
    def _block(tokens: Tensor, pair: Any, grid: tuple[int, int]) -> Tensor:
        attend, feed = pair
        found: Tensor = feed(attend(tokens, grid))
        return found

    def final_norm(self, tokens: Tokens) -> Tokens:
        """Apply the final norm to global tokens (B, g, C) and grid (B, h, w, C)."""
        cls = None if tokens.cls is None else self.net.norm(tokens.cls)
        return Tokens(cls, self.net.norm(tokens.grid))

    def attention_layers(self) -> list[nn.Module]:
        """Return the attention of each block."""
        return [block.attn for block in self.modules() if isinstance(block, AttentionBlock)]

    def attention_weights(self, layer: Any, *inputs: Any, **options: Any) -> Tensor:
        """Return (B, heads, N, N), or (B, chunks, heads, w*w, keys) of sliding attention."""
        found: Tensor = layer.weights(*inputs)
        return found

    def stem_and_stages(self) -> tuple[list[nn.Module | nn.Parameter], list[list[nn.Module]]]:
        """Return ([first embedding], [its blocks], [stage 2], ...)."""
        layers = [self.net.get_submodule(f'layer{i + 1}') for i in range(len(self.stages))]
        return [layers[0][0]], [list(layers[0][1:]), *([layer] for layer in layers[1:])]
