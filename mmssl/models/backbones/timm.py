"""Backbone of any network of timm, by its name."""

import inspect
import math
from collections.abc import Iterator
from typing import Any

import timm
from timm.layers import AttentionRope, resample_abs_pos_embed
from timm.models._manipulate import group_with_matcher
from timm.models.eva import Eva, EvaAttention
from timm.models.vision_transformer import VisionTransformer as TimmViT
from torch import Tensor, nn

from ...checkpoint.layouts.dinov2 import without_class_position
from ...core import UserError
from ...core.errors import closest
from ...registry import MODELS
from .attention import of_eva, plain
from .base import Backbone
from .tokens import Tokens


@MODELS.register_module()
class TimmBackbone(Backbone):
    """A network of timm; ``name`` is one of `timm.list_models`, ``timm/`` before it is ignored.

    ``args`` go to `timm.create_model`: ``dict(dynamic_img_size=True)`` lets a ViT take crops of
    several sizes, ``dict(img_size=96)`` builds it for another one. Blocks are those of an
    isotropic network such as ViT, and the stages of others. ``pooled`` is what timm's head pools.
    Weights come from ``init_cfg``; timm downloads its own only if ``pretrained``. Raises UserError
    for a name that timm does not know, and for ``args`` that the network does not take.
    """

    def __init__(
        self, name: str, args: dict[str, Any] | None = None, pretrained: bool = False, **dense: Any
    ) -> None:
        super().__init__(**dense)
        self.name = name.removeprefix('timm/')
        self.args = dict(args or {})
        if not timm.is_model(self.name):
            raise UserError(
                f"timm has no model of name '{self.name}'{closest(self.name, timm.list_models())}",
                key='name',
                value=name,
            )
        try:
            channels = {} if self.in_channels == 3 else dict(in_chans=self.in_channels)
            self.net = timm.create_model(
                self.name, pretrained, num_classes=0, **channels, **self.args
            )
            takes = inspect.signature(self.net.forward_intermediates).parameters
        except (TypeError, AttributeError) as error:
            raise UserError(
                f'timm/{self.name} with args {self.args}: {error}', key='args', value=args
            ) from None
        self.options = {k: True for k in ('return_prefix_tokens',) if k in takes}
        self.num_features = self.net.num_features
        stated = self.net.pretrained_cfg or {}
        if 'mean' in stated and 'std' in stated and len(stated['mean']) == self.in_channels:
            self.normalisation = tuple(stated['mean']), tuple(stated['std'])
        if isinstance(self.net, (TimmViT, Eva)):
            self.hyperparameters = dict(num_heads=self.net.blocks[0].attn.num_heads)
        widths, strides = zip(
            *((i['num_chs'], i['reduction']) for i in self.net.feature_info), strict=True
        )
        even = len(set(strides)) == 1  # one stage of equal blocks
        self.widths, self.strides = (widths[:1], strides[:1]) if even else (widths, strides)
        self.stage_ends = (len(widths) - 1,) if even else tuple(range(len(widths)))
        if self.with_cp:
            self.net.set_grad_checkpointing()
        self.finalize()

    def iter_blocks(self, x: Tensor, mask: Tensor | None = None) -> Iterator[Tokens]:
        """Yield the grid (B, h, w, C) after each block or stage of x (B, 3, H, W).

        Raises UserError for a mask, and for a size of images that the network does not take.
        """
        if mask is not None:
            raise UserError(
                f'timm/{self.name} has no mask token; use VisionTransformer(mask_token=True) for '
                'masked objectives',
                key='mask',
                value=tuple(mask.shape),
            )
        try:
            final, maps = self.net.forward_intermediates(x, **self.options)
        except AssertionError as error:
            raise UserError(
                f'timm/{self.name}: {error} Name the size in args=dict(img_size=...), or use '
                'args=dict(dynamic_img_size=True) where the network knows it',
                key='args',
                value=self.args,
            ) from None
        for i, item in enumerate(maps):
            grid, cls = item if isinstance(item, tuple) else (item, None)
            last = final if i == len(maps) - 1 else None
            yield Tokens(cls, grid.permute(0, 2, 3, 1), last)  # (B, h, w, C)

    def final_norm(self, tokens: Tokens) -> Tokens:
        """Return timm's ``forward_features`` of the last block (B, h, w, C), else normed tokens."""
        final = tokens.final
        if final is None:
            norm = getattr(self.net, 'norm', nn.Identity())
            return Tokens(None if tokens.cls is None else norm(tokens.cls), norm(tokens.grid))
        if final.dim() == 4:
            last = getattr(self.net, 'output_fmt', None) == 'NHWC'
            return Tokens(None, final if last else final.permute(0, 2, 3, 1), final)
        h, w = tokens.grid.shape[1:3]
        g = final.shape[1] - h * w
        return Tokens(final[:, :g] if g else None, final[:, g:].unflatten(1, (h, w)), final)

    def pool(self, tokens: Tokens) -> Tensor:
        """Return the output (B, C) of timm's pooling, the mean if timm's changes the width."""
        if tokens.final is None or self.net.head_hidden_size != self.num_features:
            return super().pool(tokens)
        found: Tensor = self.net.forward_head(tokens.final, pre_logits=True)
        return found

    def attention_layers(self) -> list[nn.Module]:
        """Return the attention of each block. Raises UserError for networks other than ViT."""
        if not isinstance(self.net, (TimmViT, Eva)):
            raise UserError(
                f'timm/{self.name} shows no attention; use a vision transformer',
                key='backbone',
                value=f'timm/{self.name}',
            )
        return [block.attn for block in self.net.blocks]

    def attention_weights(self, layer: Any, *inputs: Any, **options: Any) -> Tensor:
        """Return weights (B, heads, g + N, g + N)."""
        if isinstance(layer, (EvaAttention, AttentionRope)):
            return of_eva(layer, *inputs, **options)
        return plain(layer, *inputs)

    def adapt_positions(self, given: dict[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
        """Return a ViT's positions (1, n, C) at this network's size, and how they were changed.

        timm's own rule resizes them; a class token takes in its position where timm's has none.
        """
        own = getattr(self.net, 'pos_embed', None)
        if not isinstance(self.net, (TimmViT, Eva)) or own is None:
            return {}, []
        names = ('pos_embed', 'cls_token', 'reg_token')
        state = {name: given[f'net.{name}'] for name in names if f'net.{name}' in given}
        table = state.get('pos_embed')
        if table is None or table.ndim != 3 or table.shape[2] != own.shape[2]:
            return {}, []
        first = own.shape[1] - self.net.patch_embed.num_patches
        if not first and 'cls_token' in state:
            state = without_class_position(state)
        table = state['pos_embed']
        side, wanted = math.isqrt(table.shape[1] - first), self.net.patch_embed.grid_size
        notes = []
        if (side, side) != tuple(wanted):
            if side * side + first != table.shape[1]:
                return {}, []
            state['pos_embed'] = resample_abs_pos_embed(
                table, list(wanted), num_prefix_tokens=first
            )
            notes = [f'net.pos_embed {side}x{side} -> {wanted[0]}x{wanted[1]}']
        return {f'net.{name}': value for name, value in state.items()}, notes

    def stem_and_stages(self) -> tuple[list[nn.Module | nn.Parameter], list[list[nn.Module]]]:
        """Return (stem, stages), blocks for a ViT, as timm groups them for layer decay."""
        named = [*self.net.named_modules(), *self.net.named_parameters()]
        matcher = self.net.group_matcher(coarse=True)
        stem, *stages, _ = group_with_matcher(named, matcher, return_values=True).values()
        return stem, stages  # the rest is the head and the network itself
