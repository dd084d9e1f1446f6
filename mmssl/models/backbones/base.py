"""Base class of backbones: a family writes one generator of tokens, all else is derived."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from types import MappingProxyType
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ...core import UserError
from ...core.kinds import Count
from .activation_checkpointing import recomputed
from .attention import inputs_of
from .tokens import Features, Tokens, flat, joined


class Backbone(nn.Module):
    """Base of all image networks; a family overrides `iter_blocks` and `final_norm`.

    Composition: ``self.net`` is the timm or torchvision module. A plain nn.Module, so that the
    runner cannot initialise it a second time and make teacher and student differ.

    ``out_indices`` are the blocks (ViT) or stages (others) whose maps `forward` returns, each
    through a new LayerNorm ``norm{index}`` when ``out_norm``, or through the network's own last
    norm when it is 'last' (iBOT); ``frozen_stages`` freezes as OpenMMLab counts: -1 nothing, 0
    the stem, n the first n stages (blocks for ViT) too; ``norm_eval`` keeps batch norm in eval
    mode; ``with_cp`` recomputes activations in the backward instead of keeping them;
    ``init_cfg`` is ``dict(type='Pretrained', checkpoint=PATH)``, read once by `init_weights`,
    ``branch`` of it where the file has two; ``in_channels`` are those of images, 3 for RGB, whose
    weights a first convolution takes by timm's rule (`checkpoint.input_channels`). Raises UserError
    for options that the network cannot take.
    """

    pack_crops = False  # whether `encode_together` takes crops of several sizes in one pass
    supports_masks: ClassVar[bool] = False  # whether `iter_blocks` takes a mask of patches
    net: Any
    num_features: int
    stage_ends: tuple[int, ...]  # index of the last block of each stage
    widths: tuple[int, ...]  # channels of each stage
    strides: tuple[int, ...]  # pixels per token of each stage
    weights_from: str | None = None  # the file that filled it
    loaded: Any = None  # the report on it
    # mean and std of pixels, as shares of 1, that the network's library states
    normalisation: tuple[tuple[float, ...], tuple[float, ...]] | None = None
    not_compilable: str = ''  # why torch.compile cannot take it
    # what its tensors do not tell, such as attention heads: compared when a file is loaded
    hyperparameters: Mapping[str, Any] = MappingProxyType({})

    def __init__(
        self,
        out_indices: Sequence[int] | None = None,
        out_norm: bool | str = False,
        frozen_stages: int = -1,
        norm_eval: bool = False,
        with_cp: bool = False,
        init_cfg: dict[str, Any] | None = None,
        in_channels: Count = 3,
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.out_indices = out_indices
        self.out_norm = out_norm
        self.frozen_stages = frozen_stages
        self.norm_eval = norm_eval
        self.with_cp = with_cp
        self.init_cfg = init_cfg

    # what a family writes -----------------------------------------------------------------
    @classmethod
    def hyperparameters_of(cls, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Return the ``hyperparameters`` of a network of these arguments, as far as they tell."""
        return {}

    def adapt_positions(self, given: dict[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
        """Return (tensors of a file that were brought to this network's size, and how, in words).

        ``given`` are a file's tensors (any shapes) by the names of this backbone.
        """
        return {}, []

    def iter_blocks(self, x: Tensor, mask: Tensor | None = None) -> Iterator[Tokens]:
        """Yield the tokens after each block; x (B, 3, H, W), mask (B, h, w) bool or None."""
        raise NotImplementedError

    def final_norm(self, tokens: Tokens) -> Tokens:
        """Apply the network's last norm, if it has one, to cls (B, g, C) and grid (B, h, w, C)."""
        return tokens

    def pool(self, tokens: Tokens) -> Tensor:
        """Return one vector (B, C) per image: the class token, or the mean of the tokens."""
        return flat(tokens.grid).mean(1) if tokens.cls is None else tokens.cls[:, 0]

    def stem_and_stages(self) -> tuple[list[nn.Module | nn.Parameter], list[list[nn.Module]]]:
        """Return (parts of the stem, parts of each stage), for freezing."""
        raise NotImplementedError

    def layer_groups(self) -> list[list[nn.Module | nn.Parameter]]:
        """Return [stem, layer 1, ...] for layer decay; the last norm is in none.

        Layers are stages here; ViT and Swin count blocks.
        """
        stem, stages = self.stem_and_stages()
        layers: list[list[nn.Module | nn.Parameter]] = [[*stage] for stage in stages]
        return [stem, *layers]

    def iter_dense_blocks(self, x: Tensor) -> Iterator[Tokens]:
        """Yield the tokens for feature maps of detectors; x (B, 3, H, W)."""
        return self.iter_blocks(x)

    def attention_layers(self) -> list[nn.Module]:
        """Return the attention module of each block. Raises UserError when there is none."""
        name = type(self).__name__
        raise UserError(
            f'{name} has no attention to show; use a transformer', key='backbone', value=name
        )

    def attention_weights(self, layer: Any, *inputs: Any, **options: Any) -> Tensor:
        """Return the softmax weights (B, heads, N, N) of a layer called with these inputs.

        Windowed attention returns those of its windows, see `attention`.
        """
        raise NotImplementedError

    # what a family uses -------------------------------------------------------------------
    def finalize(self) -> None:
        """Check and apply the options of feature maps and freezing; constructors call it last.

        Raises UserError for maps, norms or frozen stages that the network does not have.
        """
        points = self._out_points()
        if self.out_norm == 'last':
            if any(width != self.num_features for width in self.out_channels):
                raise UserError(
                    f"out_norm='last' fits maps of {self.num_features} channels only; choose "
                    'other out_indices, or out_norm=True',
                    key='out_norm',
                    value=self.out_norm,
                )
        elif self.out_norm:
            for index, width in zip(points.values(), self.out_channels, strict=True):
                self.add_module(f'norm{index}', nn.LayerNorm(width))
        self.freeze()

    def run(self, owner: nn.Module, call: Callable[..., Any], *inputs: Any) -> Any:
        """Call a block of the network, ``owner``, with or without activation checkpointing."""
        if self.with_cp and torch.is_grad_enabled():
            return recomputed(owner, call, *inputs)
        return call(*inputs)

    # what everything else uses --------------------------------------------------------------
    def encode(self, x: Tensor, mask: Tensor | None = None) -> Features:
        """Return the features of x (B, 3, H, W) that pretraining, kNN and the API read."""
        (last,) = deque(self.iter_blocks(x, mask), maxlen=1)
        done = self.final_norm(last)
        tokens = flat(done.grid)  # (B, N, C)
        _, h, w, _ = done.grid.shape
        return Features(self.pool(done), tokens, flat(last.grid), (h, w))

    @classmethod
    def mask_cell(cls, settings: Mapping[str, Any]) -> int:
        """Return the pixels of a mask's cell of a network of these settings: a patch."""
        return int(settings.get('patch_size', 16))

    def encode_together(
        self, groups: Sequence[Tensor], mask: Tensor | None = None
    ) -> list[Features]:
        """Return the features of images of several sizes (B_i, 3, H_i, W_i) in one pass."""
        raise NotImplementedError

    def last_blocks_features(self, x: Tensor, blocks: int = 1, pool: str = 'auto') -> Tensor:
        """Concatenate features of the last ``blocks`` blocks: x (B, 3, H, W) -> (B, sum C).

        ``pool``: 'cls', 'mean', 'cls+mean' (class tokens of all blocks, mean of the last),
        'interleaved' (the same of one block, by turns), 'mean_raw' (mean before the final norm)
        or 'auto' (class token where there is one).
        Blocks of the last stage pass the final norm first; earlier stages do not (EsViT
        ``forward_return_n_last_blocks``; iBOT norms all blocks of a ViT, which is one stage).
        Raises UserError for blocks that the network does not have, for another ``pool``, and for
        'interleaved' of several blocks.
        """
        count = self.stage_ends[-1] + 1
        if not 1 <= blocks <= count:
            raise UserError(
                f'features of the last blocks={blocks}, but the network has {count} blocks; use 1 '
                f'to {count}',
                key='blocks',
                value=blocks,
            )
        last_stage = self.stage_ends[-2] + 1 if len(self.stage_ends) > 1 else 0
        kept = [
            self.final_norm(tokens) if i >= last_stage and pool != 'mean_raw' else tokens
            for i, tokens in enumerate(self.iter_blocks(x))
            if i >= count - blocks
        ]
        if pool == 'auto':  # block by block: ViL has class tokens in some stages only
            return torch.cat([self.pool(t) for t in kept], 1)
        return joined(kept, pool, type(self).__name__)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return maps (B, C_i, H_i, W_i) at ``out_indices``; x (B, 3, H, W).

        Stages for ConvNets and multi-stage transformers, blocks for ViT; the last one when
        ``out_indices`` is None.
        """
        points = self._out_points()
        maps = {}
        for i, tokens in enumerate(islice(self.iter_dense_blocks(x), max(points) + 1)):
            if i in points:
                grid = self._normed(tokens, points[i])
                maps[i] = grid.permute(0, 3, 1, 2).contiguous()  # (B, C, h, w)
        return tuple(maps[i] for i in points)

    def _normed(self, tokens: Tokens, index: int) -> Tensor:
        if self.out_norm == 'last':
            return self.final_norm(tokens).grid
        return self.get_submodule(f'norm{index}')(tokens.grid) if self.out_norm else tokens.grid

    @property
    def out_channels(self) -> tuple[int, ...]:
        """Return the channels of the maps that `forward` returns."""
        return tuple(self.widths[self._stage(block)] for block in self._out_points())

    @property
    def out_strides(self) -> tuple[int, ...]:
        """Return the pixels per cell of the maps that `forward` returns."""
        return tuple(self.strides[self._stage(block)] for block in self._out_points())

    @torch.no_grad()
    def attention(self, x: Tensor, block: int = -1) -> Tensor:
        """Return the softmax weights of one block, counted over all stages, for x (B, 3, H, W).

        (B, heads, N, N) among all tokens, class token first; (B, windows, heads, n, m) where
        attention is windowed, windows row by row. Raises UserError when the network has no
        attention or no such block.
        """
        layers = self.attention_layers()
        if not -len(layers) <= block < len(layers):
            raise UserError(
                f'attention of block {block}, but the network has {len(layers)} blocks, counted '
                'from 0',
                key='block',
                value=block,
            )
        blocks = islice(self.iter_blocks(x), block % len(layers) + 1)
        inputs, options = inputs_of(layers[block], lambda: deque(blocks, maxlen=0))
        return self.attention_weights(layers[block], *inputs, **options)

    def summary(self, x: Tensor) -> Tensor:
        """Return the class token (B, C), else the final map (B, C, h, w), of x (B, 3, H, W)."""
        (last,) = deque(self.iter_blocks(x), maxlen=1)
        done = self.final_norm(last)
        return done.grid.permute(0, 3, 1, 2) if done.cls is None else done.cls[:, 0]

    def init_weights(self) -> None:
        """Load the file of ``init_cfg``, if it is set; constructors have initialised all else.

        Raises UserError when ``init_cfg`` names no file.
        """
        if not self.init_cfg:
            return
        path = self.init_cfg.get('checkpoint')
        if not path:
            raise UserError(
                'the backbone has no weights: pass the pretrained file, --cfg-options '
                'pretrained=PATH or model.backbone.init_cfg.checkpoint=PATH',
                key='model.backbone.init_cfg.checkpoint',
                value=path,
            )
        from ...checkpoint import load

        # a file of weights does not know the new norms of the maps
        norms = {n: self._modules.pop(n) for n in list(self._modules) if n.startswith('norm')}
        try:
            load(self, path, part='backbone', branch=self.init_cfg.get('branch', 'export'))
        finally:
            self._modules.update(norms)

    def train(self, mode: bool = True) -> 'Backbone':
        """Set the mode, then put frozen parts and (``norm_eval``) batch norms back to eval."""
        super().train(mode)
        for part in self._frozen_parts():
            if isinstance(part, nn.Module):
                part.eval()
        if mode and self.norm_eval:
            for module in self.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()
        return self

    def freeze(self) -> None:
        """Take the frozen parts out of training."""
        for part in self._frozen_parts():
            for parameter in [part] if isinstance(part, nn.Parameter) else part.parameters():
                parameter.requires_grad_(False)

    def _frozen_parts(self) -> list[nn.Module | nn.Parameter]:
        if self.frozen_stages < 0 or not hasattr(self, 'net'):
            return []
        stem, stages = self.stem_and_stages()
        if self.frozen_stages > len(stages):
            raise UserError(
                f'frozen_stages={self.frozen_stages}, but {type(self).__name__} has '
                f'{len(stages)} stages',
                key='frozen_stages',
                value=self.frozen_stages,
            )
        norms = [getattr(self, f'norm{i}', None) for i in range(self.frozen_stages)]
        inner = [part for stage in stages[: self.frozen_stages] for part in stage]
        return [*stem, *inner, *(norm for norm in norms if norm is not None)]

    def _out_points(self) -> dict[int, int]:
        """Return {block: out index} in the order asked for."""
        ends = self.stage_ends if len(self.stage_ends) > 1 else range(self.stage_ends[0] + 1)
        asked = [len(ends) - 1] if self.out_indices is None else self.out_indices
        if not asked or any(not -len(ends) <= i < len(ends) for i in asked):
            raise UserError(
                f'out_indices={tuple(asked)}: {type(self).__name__} has maps 0 to {len(ends) - 1}',
                key='out_indices',
                value=self.out_indices,
            )
        return {ends[i]: i % len(ends) for i in asked}

    def _stage(self, block: int) -> int:
        return sum(block > end for end in self.stage_ends)
