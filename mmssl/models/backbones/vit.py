"""Vision transformer: timm's, with the official codes' positions, stems and initialisations."""

import math
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import torch
from timm.layers import PatchEmbed
from timm.models.vision_transformer import VisionTransformer as TimmViT
from torch import Tensor, nn
from torch.nn import functional as F

from ...core import UserError
from ...core.kinds import Count, DropRate
from ...functional.resize import resize
from ...registry import MODELS
from .attention import plain
from .base import Backbone
from .tokens import Tokens

# name -> (width, depth, heads); MoCo v3's ViT-S has 12 heads, DeiT's 6: recipes say which
ARCHS: dict[str, tuple[int, int, int]] = {
    'tiny': (192, 12, 3),
    'small': (384, 12, 6),
    'base': (768, 12, 12),
    'large': (1024, 24, 16),
    'huge': (1280, 32, 16),
}


def sincos_positions(width: int, height: int, dim: int, dtype: torch.dtype) -> Tensor:
    """Return fixed 2-D positions (1, 1 + width * height, dim), row 0 zero (MoCo v3 ``vits.py``).

    The slow index walks ``width``, which is row-major only on square grids: the official order,
    kept for equal numbers. Raises UserError when dim is not a multiple of 4.
    """
    if dim % 4:
        raise UserError(
            f'sin-cos positions need a dim divisible by 4, got {dim}', key='dim', value=dim
        )
    omega = 1.0 / 10000 ** (torch.arange(dim // 4, dtype=dtype) / (dim // 4))  # (dim/4)
    slow = torch.arange(width, dtype=dtype).repeat_interleave(height)  # (w*h)
    fast = torch.arange(height, dtype=dtype).repeat(width)  # (w*h)
    angles = [slow[:, None] * omega, fast[:, None] * omega]  # (w*h, dim/4) each
    table = torch.cat([f(a) for a in angles for f in (torch.sin, torch.cos)], 1)  # (w*h, dim)
    return torch.cat([table.new_zeros(1, dim), table])[None]  # (1, 1 + w*h, dim)


def resize_positions(table: Tensor, height: int, width: int, offset: float = 0.1) -> Tensor:
    """Resize square positions (1, 1 + n*n, C) -> (1, 1 + height*width, C) as DINO and iBOT do.

    Bicubic, without antialiasing, by a scale factor that is ``offset`` cells too large, which
    is not the same as asking for the size (``interpolate_pos_encoding``). EsViT's code has no
    offset; timm's own resizing differs.
    """
    side = math.isqrt(table.shape[1] - 1)
    if (height, width) == (side, side):
        return table
    grid = table[:, 1:].reshape(1, side, side, -1).permute(0, 3, 1, 2)  # (1, C, n, n)
    scale = ((float(height) + offset) / side, (float(width) + offset) / side)
    grid = resize(grid, height, width, 'bicubic', scale)  # (1, C, h, w)
    return torch.cat([table[:, :1], grid.permute(0, 2, 3, 1).flatten(1, 2)], 1)


class ConvStem(nn.Module):
    """Patch embedding by four 3x3 stride-2 convolutions (Xiao et al. 2021; MoCo v3 ``vits.py``).

    x (B, 3, H, W) -> (B, N, C) at stride 16. ``stem_stride`` 8 or 4 leave out the first one or
    two strides, for images of 32 to 96 px. Raises UserError for another ``patch_size``.
    """

    def __init__(
        self,
        img_size: int = 224,
        patch_size: int = 16,
        in_chans: int = 3,
        embed_dim: int = 768,
        **_: Any,
    ) -> None:
        super().__init__()
        strides = {16: (2, 2, 2, 2), 8: (1, 2, 2, 2), 4: (1, 1, 2, 2)}.get(patch_size)
        if strides is None:
            raise UserError(
                f'the convolutional stem has patch_size 16, 8 or 4, not {patch_size}',
                key='patch_size',
                value=patch_size,
            )
        self.grid_size = (img_size // patch_size,) * 2
        self.num_patches = self.grid_size[0] ** 2
        widths = [in_chans, *(embed_dim // d for d in (8, 4, 2, 1))]
        layers: list[nn.Module] = []
        for i, stride in enumerate(strides):
            layers += [
                nn.Conv2d(widths[i], widths[i + 1], 3, stride, 1, bias=False),
                nn.BatchNorm2d(widths[i + 1]),
                nn.ReLU(inplace=True),
            ]
        self.proj = nn.Sequential(*layers, nn.Conv2d(embed_dim, embed_dim, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, N, C)."""
        return self.proj(x).flatten(2).transpose(1, 2)


@MODELS.register_module()
class VisionTransformer(Backbone):
    """Vision transformer (Dosovitskiy et al. 2021); features are the class token.

    ``arch`` names a size of `ARCHS` or gives (width, depth, heads). ``positions``: 'learned' or
    'sincos' (fixed); at other sizes than ``img_size`` they are resized with
    ``interpolate_offset`` (`resize_positions`: 0.1 in DINO, iBOT and SERE, 0 in EsViT).
    ``stem``: 'patch' or 'conv' (one block fewer, as MoCo v3 counts, when ``arch`` is a name).
    ``init``: 'moco' or 'trunc_normal' (DeiT, iBOT). ``mask_token`` adds the token that masked
    patches become. Without ``last_norm`` tokens stay as the last block left them, for heads that
    norm the mean of them (MAE's fine-tuning). Raises UserError for unknown names, and for a width
    that the heads do not divide.
    """

    supports_masks = True

    def __init__(
        self,
        arch: str | tuple[int, int, int] = 'small',
        num_heads: int | None = None,
        img_size: Count = 224,
        patch_size: Count = 16,
        mlp_ratio: float = 4.0,
        norm_eps: float = 1e-6,
        drop_path_rate: DropRate = 0.0,
        positions: str = 'learned',
        interpolate_offset: float = 0.1,
        stem: str = 'patch',
        init: str = 'trunc_normal',
        freeze_patch_embed: bool = False,
        mask_token: bool = False,
        last_norm: bool = True,
        **dense: Any,
    ) -> None:
        super().__init__(**dense)
        dim, depth, heads = self._size(arch, stem, num_heads)
        self.patch_size = patch_size
        self.interpolate_offset = interpolate_offset
        self.freeze_patch_embed = freeze_patch_embed
        stems = {'patch': partial(PatchEmbed, strict_img_size=False), 'conv': ConvStem}
        self.net = TimmViT(
            img_size,
            patch_size,
            num_classes=0,
            embed_dim=dim,
            depth=depth,
            num_heads=heads,
            mlp_ratio=mlp_ratio,
            drop_path_rate=drop_path_rate,
            weight_init='moco' if init == 'moco' else '',
            embed_layer=stems[stem],
            norm_layer=partial(nn.LayerNorm, eps=norm_eps),
        )
        self.num_features = dim
        self.widths = (dim,)
        self.strides = (patch_size,)
        self.num_heads = heads
        self.hyperparameters = dict(num_heads=heads, norm_eps=norm_eps)
        self.stage_ends = (depth - 1,)
        if not last_norm:
            self.net.norm = nn.Identity()
        self.mask_token = nn.Parameter(torch.zeros(1, dim)) if mask_token else None
        self._init(init, positions, stem)
        self.finalize()

    @classmethod
    def hyperparameters_of(cls, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Return heads and epsilon of a ViT of these arguments."""
        arch, heads = settings.get('arch', 'small'), settings.get('num_heads')
        size = ARCHS.get(arch) if isinstance(arch, str) else arch
        heads = heads or (size[2] if size else None)
        return dict(num_heads=heads, norm_eps=settings.get('norm_eps', 1e-6))

    @staticmethod
    def _size(arch: Any, stem: str, num_heads: int | None) -> tuple[int, int, int]:
        if stem not in ('patch', 'conv'):
            raise UserError(
                f"ViT stem '{stem}' is unknown; use 'patch' or 'conv'", key='stem', value=stem
            )
        if not isinstance(arch, str):
            dim, depth, heads = arch
        elif arch in ARCHS:
            dim, depth, heads = ARCHS[arch]
            depth -= stem == 'conv'
        else:
            raise UserError(
                f"ViT arch '{arch}' is unknown; use one of {', '.join(ARCHS)}",
                key='arch',
                value=arch,
            )
        heads = num_heads or heads
        if dim % heads:
            raise UserError(
                f'ViT of arch={arch!r}: width {dim} is not divisible by its {heads} heads',
                key='num_heads' if num_heads else 'arch',
                value=num_heads or arch,
            )
        return dim, depth, heads

    @torch.no_grad()
    def _init(self, init: str, positions: str, stem: str) -> None:
        net = self.net
        if positions == 'sincos':
            side = net.patch_embed.grid_size[0]
            table = sincos_positions(side, side, self.num_features, torch.float32)
            net.pos_embed = nn.Parameter(table, requires_grad=False)
        elif positions != 'learned':
            raise UserError(
                f"ViT positions '{positions}' is unknown; use 'learned' or 'sincos'",
                key='positions',
                value=positions,
            )
        if init == 'trunc_normal':
            nn.init.trunc_normal_(net.cls_token, std=0.02)
        elif init != 'moco':
            raise UserError(
                f"ViT init '{init}' is unknown; use 'moco' or 'trunc_normal'",
                key='init',
                value=init,
            )
        if init == 'moco' and stem == 'patch':
            # Xavier over the flattened patch, as if the projection were a Linear
            bound = math.sqrt(6 / (3 * self.patch_size**2 + self.num_features))
            nn.init.uniform_(net.patch_embed.proj.weight, -bound, bound)
            nn.init.zeros_(net.patch_embed.proj.bias)

    def drop_mask_token(self) -> None:
        """Remove the mask token: a teacher gets no masks."""
        self.mask_token = None

    def freeze(self) -> None:
        """Freeze as the base class does, and the patch projection (MoCo v3, sec. 4.3)."""
        super().freeze()
        # a no-op for the convolutional stem, as upstream
        if self.freeze_patch_embed and isinstance(self.net.patch_embed, PatchEmbed):
            self.net.patch_embed.proj.requires_grad_(False)

    def iter_blocks(self, x: Tensor, mask: Tensor | None = None) -> Iterator[Tokens]:
        """Yield cls (B, 1, C) and grid (B, h, w, C) after each block of x (B, 3, H, W).

        Patches in the mask (B, h, w) are replaced by the mask token before block 0. Raises
        UserError for a mask when there is no such token.
        """
        net, p = self.net, self.patch_size
        x = F.pad(x, (0, -x.shape[-1] % p, 0, -x.shape[-2] % p))
        h, w = x.shape[-2] // p, x.shape[-1] // p
        x = net.patch_embed(x)  # (B, N, C)
        if mask is not None:
            if self.mask_token is None:
                raise UserError(
                    'a mask was given to a ViT built without mask_token=True',
                    key='mask_token',
                    value=False,
                )
            x = torch.where(mask.flatten(1)[..., None], self.mask_token.to(x.dtype), x)
        x = torch.cat([net.cls_token.expand(x.shape[0], -1, -1), x], 1)  # (B, 1 + N, C)
        x = x + resize_positions(net.pos_embed, h, w, self.interpolate_offset)
        for block in net.blocks:
            x = self.run(block, block, x)
            yield Tokens(x[:, :1], x[:, 1:].unflatten(1, (h, w)))

    def final_norm(self, tokens: Tokens) -> Tokens:
        """Apply the final LayerNorm to cls (B, 1, C) and grid (B, h, w, C)."""
        assert tokens.cls is not None
        return Tokens(self.net.norm(tokens.cls), self.net.norm(tokens.grid))

    def attention_layers(self) -> list[nn.Module]:
        """Return the attention of each block."""
        return [block.attn for block in self.net.blocks]

    def attention_weights(self, layer: Any, *inputs: Any, **options: Any) -> Tensor:
        """Return weights (B, heads, 1 + N, 1 + N), class token first."""
        return plain(layer, *inputs)

    def stem_and_stages(self) -> tuple[list[nn.Module | nn.Parameter], list[list[nn.Module]]]:
        """Return (patch embedding, class token, positions), one part per block.

        The final norm belongs to the last block, as mmpretrain's ViT freezes it.
        """
        net = self.net
        stages: list[list[nn.Module]] = [[block] for block in net.blocks]
        stages[-1].append(net.norm)
        return [net.patch_embed, net.cls_token, net.pos_embed], stages

    def layer_groups(self) -> list[list[nn.Module | nn.Parameter]]:
        """Return [stem, block 1, ...] (MAE ``lr_decay.py``)."""
        stem: list[nn.Module | nn.Parameter] = [self.net.patch_embed, self.net.cls_token]
        return [[*stem, self.net.pos_embed], *([block] for block in self.net.blocks)]
