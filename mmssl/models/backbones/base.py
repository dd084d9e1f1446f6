"""The contract every backbone keeps: one generator of token grids, all else derived."""

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ...core import UserError


class Tokens(NamedTuple):
    """Output of one block: cls (B, 1, C) or None, grid (B, h, w, C)."""

    cls: Tensor | None
    grid: Tensor


class Features(NamedTuple):
    """What an image is for a method.

    pooled (B, C): class token, or mean of the final tokens; tokens (B, N, C) after the last
    norm; raw (B, N, C) before it; grid (h, w) with N = h * w.
    """

    pooled: Tensor
    tokens: Tensor
    raw: Tensor
    grid: tuple[int, int]

    def split(self, rows: int) -> list['Features']:
        """Cut the batch into parts of ``rows`` images each."""
        parts = (t.split(rows) for t in (self.pooled, self.tokens, self.raw))
        return [Features(p, t, r, self.grid) for p, t, r in zip(*parts, strict=True)]


def flat(grid: Tensor) -> Tensor:
    """(B, h, w, C) -> (B, N, C), row-major."""
    return grid.flatten(1, 2)


class Backbone(nn.Module):
    """Base of all image networks; a family overrides `stream`, `finish` and the two widths.

    Composition: ``self.net`` is the timm or torchvision module. A plain nn.Module, so that the
    runner cannot initialise it a second time and make teacher and student differ.

    ``out_indices`` are the blocks (ViT) or stages (others) whose maps `forward` returns;
    ``frozen_stages`` freezes as OpenMMLab counts: -1 nothing, 0 the stem, n the first n stages
    (blocks for ViT) too; ``norm_eval`` keeps batch norm in eval mode; ``init_cfg`` is
    ``dict(type='Pretrained', checkpoint=PATH)``, read once by `init_weights`.
    """

    net: Any
    num_features: int
    stage_ends: tuple[int, ...]  # index of the last block of each stage
    widths: tuple[int, ...]  # channels of each stage
    weights_from: str | None = None  # the file that filled it

    def __init__(
        self,
        out_indices: Sequence[int] | None = None,
        frozen_stages: int = -1,
        norm_eval: bool = False,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__()
        self.out_indices = out_indices
        self.frozen_stages, self.norm_eval = frozen_stages, norm_eval
        self.init_cfg = init_cfg

    # what a family writes -----------------------------------------------------------------
    def stream(self, x: Tensor, mask: Tensor | None = None) -> Iterator[Tokens]:
        """Yield the tokens after each block; x (B, 3, H, W), mask (B, h, w) bool or None."""
        raise NotImplementedError

    def finish(self, tokens: Tokens) -> Tokens:
        """Apply the network's last norm, if it has one."""
        return tokens

    def stem_and_stages(self) -> tuple[list[nn.Module | nn.Parameter], list[list[nn.Module]]]:
        """Return (parts of the stem, parts of each stage), for freezing."""
        raise NotImplementedError

    def dense_stream(self, x: Tensor) -> Iterator[Tokens]:
        """Yield the tokens that feature maps for detectors are made of; x (B, 3, H, W)."""
        return self.stream(x)

    # what everything else uses --------------------------------------------------------------
    def encode(self, x: Tensor, mask: Tensor | None = None) -> Features:
        """Return the features of x (B, 3, H, W) that pretraining, kNN and the API read."""
        (last,) = deque(self.stream(x, mask), maxlen=1)
        done = self.finish(last)
        tokens = flat(done.grid)  # (B, N, C)
        pooled = tokens.mean(1) if done.cls is None else done.cls[:, 0]  # (B, C)
        _, h, w, _ = done.grid.shape
        return Features(pooled, tokens, flat(last.grid), (h, w))

    def descriptor(self, x: Tensor, blocks: int = 1, pool: str = 'auto') -> Tensor:
        """Concatenate what the last ``blocks`` blocks say of x (B, 3, H, W) -> (B, sum C).

        ``pool``: 'cls', 'mean', 'cls+mean' (class tokens of all blocks, mean of the last),
        'mean_raw' (mean before the final norm) or 'auto' (class token where there is one).
        Blocks of the last stage pass the final norm first; earlier stages do not (EsViT
        ``forward_return_n_last_blocks``; iBOT norms all blocks of a ViT, which is one stage).
        """
        count = self.stage_ends[-1] + 1
        if not 1 <= blocks <= count:
            raise UserError(f'descriptor of {blocks} blocks, but the network has {count}')
        last_stage = self.stage_ends[-2] + 1 if len(self.stage_ends) > 1 else 0
        kept = [
            self.finish(tokens) if i >= last_stage and pool != 'mean_raw' else tokens
            for i, tokens in enumerate(self.stream(x))
            if i >= count - blocks
        ]
        if pool == 'auto':  # block by block: ViL has class tokens in some stages only
            return torch.cat(
                [flat(t.grid).mean(1) if t.cls is None else t.cls[:, 0] for t in kept], 1
            )
        if pool in ('mean', 'mean_raw'):
            return torch.cat([flat(t.grid).mean(1) for t in kept], 1)
        if pool not in ('cls', 'cls+mean') or any(t.cls is None for t in kept):
            raise UserError(f"pool '{pool}' is not available for {type(self).__name__}")
        parts = [t.cls[:, 0] for t in kept if t.cls is not None]
        if pool == 'cls+mean':
            parts.append(flat(kept[-1].grid).mean(1))
        return torch.cat(parts, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return maps (B, C_i, H_i, W_i) at ``out_indices``; x (B, 3, H, W).

        Stages for ConvNets and multi-stage transformers, blocks for ViT; the last one when
        ``out_indices`` is None.
        """
        points = self._out_blocks()
        maps = {}
        for i, tokens in enumerate(self.dense_stream(x)):
            if i in points:
                maps[i] = tokens.grid.permute(0, 3, 1, 2).contiguous()  # (B, C, h, w)
        return tuple(maps[i] for i in points)

    def summary(self, x: Tensor) -> Tensor:
        """Return what `extract_feat` answers: the class token (B, C), else the final map."""
        (last,) = deque(self.stream(x), maxlen=1)
        done = self.finish(last)
        return done.grid.permute(0, 3, 1, 2) if done.cls is None else done.cls[:, 0]

    def init_weights(self) -> None:
        """Load ``init_cfg``'s file, if there is one; constructors have initialised all else."""
        if not self.init_cfg:
            return
        path = self.init_cfg.get('checkpoint')
        if not path:
            raise UserError(
                'the backbone has no weights: pass the pretrained file, for example '
                '--cfg-options model.backbone.init_cfg.checkpoint=PATH'
            )
        from ...checkpoint import load

        load(self, path, part='backbone')

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
        """Take the frozen parts out of training; constructors call it last."""
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
                f'{len(stages)} stages'
            )
        return [*stem, *(part for stage in stages[: self.frozen_stages] for part in stage)]

    def _out_blocks(self) -> list[int]:
        indices = self.out_indices
        if len(self.stage_ends) == 1:
            count = self.stage_ends[0] + 1
            return [i % count for i in indices] if indices is not None else [count - 1]
        if indices is None:
            return [self.stage_ends[-1]]
        return [self.stage_ends[i] for i in indices]
