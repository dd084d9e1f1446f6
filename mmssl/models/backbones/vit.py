"""Vision transformer: timm's, with the official codes' positions, tokens and initialisations."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Annotated, Any

import torch
from pydantic import Field
from timm.layers import GluMlp, Mlp, PatchEmbed
from timm.models.vision_transformer import VisionTransformer as TimmViT
from torch import Tensor, nn

from ...core import UserError
from ...core.kinds import Count, DropRate
from ...functional.resize import resize
from ...registry import MODELS
from .attention import plain, weights
from .base import Backbone
from .tokens import Features, Tokens, flat, padded_to
from .vit_parts import (
    PackedAttention,
    PackedBlock,
    Packing,
    QueryValueLinear,
    RotaryAttention,
    RotaryPositions,
    SwiGLU,
    swiglu_ratio,
)

# name -> (width, depth, heads); MoCo v3's ViT-S has 12 heads, DeiT's 6: recipes say which
ARCHS: dict[str, tuple[int, int, int]] = {
    'tiny': (192, 12, 3),
    'small': (384, 12, 6),
    'base': (768, 12, 12),
    'large': (1024, 24, 16),
    'huge': (1280, 32, 16),
    'giant': (1536, 40, 24),
}
POSITIONS = ('learned', 'sincos', 'rotary')
MLPS = {'gelu': Mlp, 'swiglu': SwiGLU}
Registers = Annotated[int, Field(ge=0, description='a whole number of tokens, 0 or more')]
LayerScale = Annotated[float, Field(gt=0, description='a number above 0, or None')]


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


def positions_side(count: int) -> tuple[int, int]:
    """Return (side of the grid, tokens before it, 0 or 1) of a table of ``count`` positions.

    Raises UserError for a table of no square grid.
    """
    for first in (1, 0):
        side = math.isqrt(count - first)
        if side and side * side == count - first:
            return side, first
    raise UserError(
        f'pos_embed: {count} positions are those of no square grid, with a class token or without',
        key='pos_embed',
        value=count,
    )


def resize_positions(
    table: Tensor, height: int, width: int, offset: float = 0.1, antialias: bool = False
) -> Tensor:
    """Resize square positions (1, 1 + n*n, C) -> (1, 1 + height*width, C) by the method's rule.

    Bicubic. DINO, iBOT and DINOv2 ask for a scale that is ``offset`` cells too large, which is not
    the same as asking for the size (``interpolate_pos_encoding``), without ``antialias``; EsViT's
    code has no offset; DINOv2 with registers has no offset and antialiasing, as timm has.
    """
    side = math.isqrt(table.shape[1] - 1)
    if (height, width) == (side, side):
        return table
    grid = table[:, 1:].reshape(1, side, side, -1).permute(0, 3, 1, 2)  # (1, C, n, n)
    scale = ((float(height) + offset) / side, (float(width) + offset) / side)
    grid = resize(grid, height, width, 'bicubic', scale, antialias)  # (1, C, h, w)
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
        found: Tensor = self.proj(x).flatten(2).transpose(1, 2)
        return found


@MODELS.register_module()
class VisionTransformer(Backbone):
    """Vision transformer (Dosovitskiy et al. 2021); features are the class token.

    ``arch`` names a size of `ARCHS` or gives (width, depth, heads). ``positions``: 'learned',
    'sincos' (fixed) or 'rotary' (DINOv3, ``rope_base``: its longest period); tables are resized at
    other sizes than ``img_size`` with ``interpolate_offset`` and ``interpolate_antialias``
    (`resize_positions`: 0.1 in DINO, iBOT, SERE and DINOv2, 0 in EsViT; 0 and antialiasing in
    DINOv2 with registers). ``registers`` are tokens without a place between class token and
    patches (Darcet et al. 2024). ``layer_scale`` is the first value of LayerScale. ``mlp``:
    'gelu' or 'swiglu', which has ``mlp_ratio`` times the width in gate and value each.
    ``qkv_bias=False`` leaves out the biases of attention's inputs, ``key_bias=False`` masks those
    of keys (DINOv3). ``stem``: 'patch' or 'conv' (one block fewer, as MoCo v3 counts, when ``arch``
    is a name). ``init``: 'moco' or 'trunc_normal' (DeiT, iBOT). ``mask_token`` adds the token that
    masked patches become. Without ``last_norm`` tokens stay as the last block left them, for heads
    that norm the mean of them (MAE's fine-tuning). ``pack_crops``: crops of several sizes go
    through the network in one pass. Raises UserError for unknown names, for a width
    that the heads do not divide, and for options that exclude each other.
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
        interpolate_antialias: bool = False,
        rope_base: float = 100.0,
        registers: Registers = 0,
        layer_scale: LayerScale | None = None,
        mlp: str = 'gelu',
        qkv_bias: bool = True,
        key_bias: bool = True,
        stem: str = 'patch',
        init: str = 'trunc_normal',
        freeze_patch_embed: bool = False,
        mask_token: bool = False,
        last_norm: bool = True,
        pack_crops: bool = True,
        **dense: Any,
    ) -> None:
        super().__init__(**dense)
        self.pack_crops = pack_crops
        dim, depth, heads = self._size(arch, stem, num_heads)
        _one_of('positions', positions, POSITIONS)
        _one_of('mlp', mlp, MLPS)
        rotary = positions == 'rotary'
        if rotary and dim // heads % 4:
            raise UserError(
                f'rotary positions need heads of a multiple of 4 channels: num_heads={heads} gives '
                f'{dim // heads}',
                key='num_heads',
                value=heads,
            )
        self.patch_size = patch_size
        self.rope_base = rope_base
        self.interpolate_offset = interpolate_offset
        self.interpolate_antialias = interpolate_antialias
        self.fixed_positions = positions == 'sincos'
        self.freeze_patch_embed = freeze_patch_embed
        stems = {'patch': partial(PatchEmbed, strict_img_size=False), 'conv': ConvStem}
        self.net = TimmViT(
            img_size,
            patch_size,
            in_chans=self.in_channels,
            num_classes=0,
            embed_dim=dim,
            depth=depth,
            num_heads=heads,
            mlp_ratio=swiglu_ratio(dim, mlp_ratio) if mlp == 'swiglu' else mlp_ratio,
            qkv_bias=qkv_bias,
            init_values=layer_scale,
            pos_embed='none' if rotary else 'learn',
            drop_path_rate=drop_path_rate,
            weight_init='moco' if init == 'moco' else '',
            embed_layer=stems[stem],
            norm_layer=partial(nn.LayerNorm, eps=norm_eps),
            mlp_layer=MLPS[mlp],
            act_layer=nn.SiLU if mlp == 'swiglu' else nn.GELU,
            block_fn=PackedBlock,
            attn_layer=RotaryAttention if rotary else PackedAttention,
        )
        if registers:
            self.net.reg_token = nn.Parameter(torch.zeros(1, registers, dim))
        if rotary:
            self.net.rope = RotaryPositions(dim // heads, rope_base)
        if not key_bias and qkv_bias:
            for block in self.net.blocks:
                block.attn.qkv = QueryValueLinear(block.attn.qkv)
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
        _one_of('init', init, ('moco', 'trunc_normal'))
        net = self.net
        if positions == 'sincos':
            side = net.patch_embed.grid_size[0]
            table = sincos_positions(side, side, self.num_features, torch.float32)
            net.pos_embed = nn.Parameter(table, requires_grad=False)
        if init == 'trunc_normal':
            nn.init.trunc_normal_(net.cls_token, std=0.02)
        if net.reg_token is not None:
            nn.init.trunc_normal_(net.reg_token, std=0.02)
        for block in net.blocks:
            if isinstance(block.mlp, GluMlp):  # timm's start mutes half of its channels
                nn.init.trunc_normal_(block.mlp.fc1.weight, std=0.02)
                nn.init.zeros_(block.mlp.fc1.bias)
        if init == 'moco' and stem == 'patch':
            # Xavier over the flattened patch, as if the projection were a Linear
            bound = math.sqrt(6 / (3 * self.patch_size**2 + self.num_features))
            nn.init.uniform_(net.patch_embed.proj.weight, -bound, bound)
            nn.init.zeros_(net.patch_embed.proj.bias)

    def adapt_positions(self, given: dict[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
        """Return a file's positions (1, n, C) at this network's size, and how they were changed.

        They are resized by `resize_positions`; fixed ones are this network's own. A table without
        the class token's position (timm's networks with registers) gets one of zeros. Raises
        UserError for a table of no square grid.
        """
        name, own = 'net.pos_embed', self.net.pos_embed
        table = given.get(name)
        if table is None or own is None or table.ndim != 3 or table.shape[2] != own.shape[2]:
            return {}, []
        side, first = positions_side(table.shape[1])
        wanted, _ = positions_side(own.shape[1])
        if not first:
            table = torch.cat([torch.zeros_like(table[:, :1]), table], 1)
        if side == wanted:
            return {name: table}, []
        if self.fixed_positions:
            table = own.detach()
        else:
            rule = self.interpolate_offset, self.interpolate_antialias
            table = resize_positions(table.float(), wanted, wanted, *rule).to(table.dtype)
        return {name: table}, [f'{name} {side}x{side} -> {wanted}x{wanted}']

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
        """Yield cls (B, 1 + R, C) and grid (B, h, w, C) after each block of x (B, 3, H, W).

        R are the registers. Patches in the mask (B, h, w) are replaced by the mask token before
        block 0. Raises UserError for a mask when there is no such token.
        """
        x, (h, w), turns = self._embed(x, mask)
        for block in self.net.blocks:
            x = self.run(block, block, x, *turns)
            yield self._tokens(x, h, w)

    def encode_together(
        self, groups: Sequence[Tensor], mask: Tensor | None = None
    ) -> list[Features]:
        """Return the features of images of several sizes, (B_i, 3, H_i, W_i), in one pass.

        The tokens of all images lie in one tensor of rows; only attention looks at each group by
        itself. ``mask`` (B_0, h, w) is the first group's. Equal to `encode` of one group after the
        other.
        """
        parts = [self._embed(x, None if i else mask) for i, x in enumerate(groups)]
        shapes = [(len(x), x.shape[1]) for x, _, _ in parts]
        packing = Packing(shapes, [turns for _, _, turns in parts])
        rows = torch.cat([x.flatten(0, 1) for x, _, _ in parts])  # (R, C)
        packing.draw_depths(self.net.blocks, rows)
        for block in self.net.blocks:
            rows = self.run(block, partial(block, packing=packing), rows)
        found = []
        both = zip(rows.split(packing.rows), self.net.norm(rows).split(packing.rows), strict=True)
        for (raw, done), shape, (_, (h, w), _) in zip(both, shapes, parts, strict=True):
            last, normed = (self._tokens(x.unflatten(0, shape), h, w) for x in (raw, done))
            found.append(Features(self.pool(normed), flat(normed.grid), flat(last.grid), (h, w)))
        return found

    def _tokens(self, x: Tensor, h: int, w: int) -> Tokens:
        """Return class token and registers (B, 1 + R, C) and grid (B, h, w, C) of (B, N, C)."""
        first = x.shape[1] - h * w
        return Tokens(x[:, :first], x[:, first:].unflatten(1, (h, w)))

    def _embed(
        self, x: Tensor, mask: Tensor | None
    ) -> tuple[Tensor, tuple[int, int], tuple[Tensor, ...]]:
        """Return tokens (B, 1 + R + N, C), their grid, and rotary sines and cosines (N, c)."""
        net, p = self.net, self.patch_size
        x = padded_to(x, p)
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
        if net.pos_embed is not None:
            x = x + resize_positions(
                net.pos_embed, h, w, self.interpolate_offset, self.interpolate_antialias
            )
        if net.reg_token is not None:
            registers = net.reg_token.expand(x.shape[0], -1, -1)
            x = torch.cat([x[:, :1], registers, x[:, 1:]], 1)  # (B, 1 + R + N, C)
        return x, (h, w), net.rope(h, w) if net.pos_embed is None else ()

    def final_norm(self, tokens: Tokens) -> Tokens:
        """Apply the final LayerNorm to cls (B, 1 + R, C) and grid (B, h, w, C)."""
        assert tokens.cls is not None
        return Tokens(self.net.norm(tokens.cls), self.net.norm(tokens.grid))

    def attention_layers(self) -> list[nn.Module]:
        """Return the attention of each block."""
        return [block.attn for block in self.net.blocks]

    def attention_weights(self, layer: Any, *inputs: Any, **options: Any) -> Tensor:
        """Return weights (B, heads, 1 + R + N, 1 + R + N), class token and registers first."""
        if isinstance(layer, RotaryAttention):
            x, *turns = inputs
            q, k, _ = layer.heads(layer.qkv(x), *turns)
            return weights(q, k)
        return plain(layer, *inputs)

    def _stem(self) -> list[nn.Module | nn.Parameter]:
        """Return (patch embedding, class token, positions, registers), as far as there are any."""
        net = self.net
        tokens = (net.cls_token, net.pos_embed, net.reg_token)
        return [net.patch_embed, *(token for token in tokens if token is not None)]

    def stem_and_stages(self) -> tuple[list[nn.Module | nn.Parameter], list[list[nn.Module]]]:
        """Return (patch embedding, tokens, positions), one part per block.

        The final norm belongs to the last block, as mmpretrain's ViT freezes it.
        """
        net = self.net
        stages: list[list[nn.Module]] = [[block] for block in net.blocks]
        stages[-1].append(net.norm)
        return self._stem(), stages

    def layer_groups(self) -> list[list[nn.Module | nn.Parameter]]:
        """Return [stem, block 1, ...] (MAE ``lr_decay.py``)."""
        return [self._stem(), *([block] for block in self.net.blocks)]


def _one_of(key: str, value: str, known: Iterable[str]) -> None:
    """Raise UserError for a value that is none of the known ones."""
    if value not in known:
        raise UserError(
            f"ViT {key} '{value}' is unknown; use one of {', '.join(known)}", key=key, value=value
        )
