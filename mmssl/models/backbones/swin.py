"""Swin transformer: timm's modules, run with the official codes' windows."""

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from timm.models.swin_transformer import SwinTransformer as TimmSwin
from timm.models.swin_transformer import SwinTransformerBlock as TimmBlock
from timm.models.swin_transformer import WindowAttention as TimmAttention
from timm.models.swin_transformer import window_partition, window_reverse
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from ...core import UserError
from ...core.kinds import Count, DropRate
from ...core.table_cache import remembered
from ...registry import MODELS
from .attention import MAX_BATCH, weights
from .base import Backbone
from .tokens import Tokens, padded_to

# name -> (width, depths, heads)
ARCHS: dict[str, tuple[int, tuple[int, ...], tuple[int, ...]]] = {
    'tiny': (96, (2, 2, 6, 2), (3, 6, 12, 24)),
    'small': (96, (2, 2, 18, 2), (3, 6, 12, 24)),
    'base': (128, (2, 2, 18, 2), (4, 8, 16, 32)),
    'large': (192, (2, 2, 18, 2), (6, 12, 24, 48)),
}


@remembered
def _regions(height: int, width: int, window: tuple[int, int], shift: tuple[int, int]) -> Tensor:
    """Additive mask (windows, w*w, w*w) that keeps wrapped regions of a shifted map apart."""
    label = torch.zeros(1, height, width, 1)
    for i, rows in enumerate(_bands(window[0], shift[0])):
        for j, columns in enumerate(_bands(window[1], shift[1])):
            label[:, rows, columns] = 3 * i + j
    label = window_partition(label, window).flatten(1)  # (windows, w*w)
    return torch.where(label[:, None] == label[:, :, None], 0.0, -100.0)


def _bands(window: int, shift: int) -> tuple[slice, slice, slice]:
    return slice(0, -window), slice(-window, -shift), slice(-shift, None)


class WindowAttention(TimmAttention):
    """timm's window attention, fused: scores and weights of windows are not kept in memory.

    On a CPU only without gradients: torch's fused kernel there takes no bias that is trained.
    """

    def split(self, x: Tensor, windows: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return q, k and v (B, windows * heads, n, c) of x (B * windows, n, C)."""
        n, heads = x.shape[1], self.num_heads
        parts = self.qkv(x).view(-1, windows, n, 3, heads, x.shape[2] // heads)
        q, k, v = parts.permute(3, 0, 1, 4, 2, 5).flatten(2, 3).unbind()
        return q, k, v

    def bias(self, windows: int, mask: Tensor | None) -> Tensor:
        """Learned bias and mask (windows, n, n) of each window and head, (windows * heads, n, n).

        One for all images: windows are heads here, so that it is not repeated in memory.
        """
        bias: Tensor = self._get_rel_pos_bias()  # (1, heads, n, n)
        bias = bias.expand(windows, -1, -1, -1) if mask is None else bias + mask[:, None]
        return bias.flatten(0, 1)

    def forward(self, x: Tensor, windows: int, mask: Tensor | None = None) -> Tensor:
        """Attend in x (B * windows, n, C), ``windows`` to an image; mask (windows, n, n)."""
        # an exported network takes any batch, and must not ask for its size
        if mask is None and (torch.compiler.is_compiling() or len(x) <= MAX_BATCH):
            windows = 1  # all have the same bias: no copy that puts windows among the heads
        bias = self.bias(windows, mask)[None]
        y = F.scaled_dot_product_attention(*self.split(x, windows), attn_mask=bias)
        y = y.unflatten(1, (windows, self.num_heads))  # (B, windows, heads, n, c)
        out: Tensor = self.proj(y.transpose(2, 3).reshape(x.shape))
        return out


class SwinBlock(TimmBlock):
    """timm's block with a shift that the caller chooses, and MoBY's batch norm before the MLP."""

    def forward(self, x: Tensor, shift: tuple[int, int]) -> Tensor:
        """Attend in windows of x (B, h, w, C) moved by ``shift`` cells -> (B, h, w, C)."""
        x = x + self.drop_path1(self.attend(self.norm1(x), shift))
        tokens = x.flatten(1, 2)  # (B, N, C)
        # batch norm over images and tokens alike: MoBY's variant
        rows = tokens.flatten(0, 1) if isinstance(self.norm2, _BatchNorm) else tokens
        tokens = tokens + self.drop_path2(self.mlp(self.norm2(rows).view_as(tokens)))
        found: Tensor = tokens.view_as(x)
        return found

    def attend(self, x: Tensor, shift: tuple[int, int]) -> Tensor:
        """Attention within the windows of x (B, h, w, C), padded to whole ones before the shift."""
        _, h, w, c = x.shape
        window = self.window_size
        whole = not (h % window[0] or w % window[1])
        if not whole:  # padding by nothing would copy all the same
            x = F.pad(x, (0, 0, 0, -w % window[1], 0, -h % window[0]))
        padded, mask = x.shape[1:3], None
        if any(shift):
            x = torch.roll(x, (-shift[0], -shift[1]), (1, 2))
            mask = _regions(*padded, tuple(window), tuple(shift), device=x.device).to(x.dtype)
        parts = window_partition(x, window).view(-1, window[0] * window[1], c)
        windows = (padded[0] // window[0]) * (padded[1] // window[1])
        parts = self.attn(parts, windows, mask=mask).view(-1, *window, c)
        x = window_reverse(parts, window, *padded)  # (B, h', w', C)
        if any(shift):
            x = torch.roll(x, shift, (1, 2))
        return x if whole else x[:, :h, :w]


@MODELS.register_module()
class SwinTransformer(Backbone):
    """Shifted-window transformer (Liu et al. 2021); features are the mean of the final tokens.

    ``arch`` names a size of `ARCHS` or gives (width, depths, heads). ``norm_eps``: 1e-5 in MoBY,
    1e-6 in EsViT. ``norm_before_mlp='batch'`` is MoBY's variant, with registered batch norm.

    Windows and shifts are fixed by ``img_size``: a stage whose map is not larger than the window
    takes the map as its window and does not shift. Other sizes are padded to whole windows
    before the shift (timm shifts first, which mixes wrapped tokens in). Feature maps for
    detectors (`forward`) use the windows of mmdet and mmseg, where every odd block shifts.
    ``mask_token`` adds the token that masked patches become; a cell of a mask covers a token of
    the last stage. Raises UserError for unknown names.
    """

    supports_masks = True

    def __init__(
        self,
        arch: str | tuple[int, Sequence[int], Sequence[int]] = 'tiny',
        img_size: Count = 224,
        patch_size: Count = 4,
        window_size: int = 7,
        mlp_ratio: float = 4.0,
        norm_eps: float = 1e-5,
        drop_path_rate: DropRate = 0.0,
        absolute_positions: bool = False,
        norm_before_mlp: str = 'layer',
        mask_token: bool = False,
        **dense: Any,
    ) -> None:
        super().__init__(**dense)
        if isinstance(arch, str) and arch not in ARCHS:
            raise UserError(
                f"Swin arch '{arch}' is unknown; use one of {', '.join(ARCHS)}",
                key='arch',
                value=arch,
            )
        width, depths, heads = ARCHS[arch] if isinstance(arch, str) else arch
        self.net = TimmSwin(
            img_size,
            patch_size,
            in_chans=self.in_channels,
            num_classes=0,
            embed_dim=width,
            depths=tuple(depths),
            num_heads=tuple(heads),
            window_size=window_size,
            mlp_ratio=mlp_ratio,
            drop_path_rate=drop_path_rate,
            strict_img_size=False,
            norm_layer=partial(nn.LayerNorm, eps=norm_eps),
        )
        self.patch_size = patch_size
        self.hyperparameters = dict(norm_eps=norm_eps)
        self.widths = tuple(width * 2**i for i in range(len(depths)))
        self.strides = tuple(patch_size * 2**i for i in range(len(depths)))
        self.num_features = self.widths[-1]
        self.stage_ends = tuple(sum(depths[: i + 1]) - 1 for i in range(len(depths)))
        self._windows(img_size // patch_size, window_size)
        self._positions(absolute_positions, img_size // patch_size)
        self._norms(norm_before_mlp)
        self.mask_token = nn.Parameter(torch.zeros(1, width)) if mask_token else None
        self.finalize()

    @classmethod
    def hyperparameters_of(cls, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Return the epsilon of a Swin of these arguments."""
        return dict(norm_eps=settings.get('norm_eps', 1e-5))

    @classmethod
    def mask_cell(cls, settings: Mapping[str, Any]) -> int:
        """Return the pixels of a mask's cell: a token of the last stage."""
        arch = settings.get('arch', 'tiny')
        depths = ARCHS[arch][1] if isinstance(arch, str) else arch[1]
        found: int = int(settings.get('patch_size', 4)) * 2 ** (len(depths) - 1)
        return found

    def drop_mask_token(self) -> None:
        """Remove the mask token: a teacher gets no masks."""
        self.mask_token = None

    def _windows(self, side: int, window: int) -> None:
        """Take a stage's map for its window where it is not larger, rounding down as upstream.

        timm rounds the sides of maps up, which differs when they are odd.
        """
        for i, stage in enumerate(self.net.layers):
            size = (max(side // 2**i, 1),) * 2
            for block in stage.blocks:
                # timm takes no classes for them
                block.__class__ = SwinBlock
                block.attn.__class__ = WindowAttention
                if tuple(block.input_resolution) != size:
                    block.set_input_size(size, (window, window))
                    nn.init.trunc_normal_(block.attn.relative_position_bias_table, std=0.02)

    def _positions(self, present: bool, side: int) -> None:
        self.absolute_pos_embed = None
        if present:
            table = torch.zeros(1, side * side, self.widths[0])
            self.absolute_pos_embed = nn.Parameter(nn.init.trunc_normal_(table, std=0.02))

    def _norms(self, kind: str) -> None:
        if kind not in ('layer', 'batch'):
            raise UserError(
                f"norm_before_mlp '{kind}' is unknown; use 'layer' or 'batch'",
                key='norm_before_mlp',
                value=kind,
            )
        self.batch_norm = kind == 'batch'
        if self.batch_norm:
            for stage in self.net.layers:
                for block in stage.blocks:
                    block.norm2 = nn.BatchNorm1d(block.dim)

    def iter_blocks(
        self, x: Tensor, mask: Tensor | None = None, dense: bool = False
    ) -> Iterator[Tokens]:
        """Yield the grid (B, h, w, C) after each block of x (B, 3, H, W), before any merging.

        Patches below the True cells of the mask (B, h, w), a grid of the last stage, are replaced
        by the mask token before block 0. Raises UserError for images of another size when positions
        are absolute, and as `_masked` does.
        """
        x = self.net.patch_embed(padded_to(x, self.patch_size))  # (B, h, w, C)
        if mask is not None:
            x = self._masked(x, mask)
        p = self.patch_size
        if self.absolute_pos_embed is not None:
            side = math.isqrt(self.absolute_pos_embed.shape[1])
            if x.shape[1:3] != (side, side):
                raise UserError(
                    f'absolute positions of Swin fit images of img_size={side * p} px only, got '
                    f'{x.shape[1] * p} x {x.shape[2] * p}; resize the images',
                    key='img_size',
                    value=side * p,
                )
            x = x + self.absolute_pos_embed.unflatten(1, (side, side))
        for stage in self.net.layers:
            x = stage.downsample(x)
            for i, block in enumerate(stage.blocks):
                shift = tuple(w // 2 for w in block.window_size) if dense and i % 2 else None
                x = self.run(block, block, x, shift or block.shift_size)
                yield Tokens(None, x)

    def _masked(self, x: Tensor, mask: Tensor) -> Tensor:
        """Put the mask token in place of the patches x (B, h, w, C) below mask (B, rows, columns).

        Raises UserError when there is no such token, and when cells do not cover whole patches.
        """
        if self.mask_token is None:
            raise UserError(
                'a mask was given to a Swin built without mask_token=True',
                key='mask_token',
                value=False,
            )
        (h, w), (rows, columns) = x.shape[1:3], mask.shape[1:]
        if h % rows or w % columns:
            raise UserError(
                f'a mask of {rows} x {columns} cells does not fit {h} x {w} patches; give views '
                f'whose size is a multiple of {self.strides[-1]} px',
                key='mask',
                value=tuple(mask.shape),
            )
        mask = mask.repeat_interleave(h // rows, 1).repeat_interleave(w // columns, 2)  # (B, h, w)
        return torch.where(mask[..., None], self.mask_token.to(x.dtype), x)

    def iter_dense_blocks(self, x: Tensor) -> Iterator[Tokens]:
        """Yield the grids (B, h, w, C) of x (B, 3, H, W), with the windows of mmdet and mmseg."""
        return self.iter_blocks(x, dense=True)

    def final_norm(self, tokens: Tokens) -> Tokens:
        """Apply the final LayerNorm: grid (B, h, w, C) -> the same shape."""
        return Tokens(None, self.net.norm(tokens.grid))

    def attention_layers(self) -> list[nn.Module]:
        """Return the attention of each block."""
        return [block.attn for stage in self.net.layers for block in stage.blocks]

    def attention(self, x: Tensor, block: int = -1) -> Tensor:
        """Return weights (B, windows, heads, w*w, w*w) of shifted, padded windows.

        Raises UserError when the network has no such block.
        """
        found: Tensor = super().attention(x, block).unflatten(0, (x.shape[0], -1))
        return found

    def attention_weights(self, layer: Any, *inputs: Any, **options: Any) -> Tensor:
        """Return weights (B * windows, heads, w*w, w*w)."""
        x, windows = inputs
        q, k, _ = layer.split(x, windows)
        bias = layer.bias(windows, options['mask'])
        return weights(q, k, bias=bias).view(-1, layer.num_heads, *[x.shape[1]] * 2)

    def stem_and_stages(self) -> tuple[list[nn.Module | nn.Parameter], list[list[nn.Module]]]:
        """Return (patch embedding and positions, one part per stage)."""
        stem: list[nn.Module | nn.Parameter] = [self.net.patch_embed]
        if self.absolute_pos_embed is not None:
            stem.append(self.absolute_pos_embed)
        return stem, [[stage] for stage in self.net.layers]

    def layer_groups(self) -> list[list[nn.Module | nn.Parameter]]:
        """Return [stem, block 1, ...]; a merging belongs to the block before it (SimMIM)."""
        layers: list[list[nn.Module | nn.Parameter]] = [[*self.stem_and_stages()[0]]]
        for stage in self.net.layers:
            layers[-1].append(stage.downsample)
            layers += [[block] for block in stage.blocks]
        return layers
