"""Backbone of any module of the user's own that turns images into features."""

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from ...core import UserError
from ...registry import MODELS
from .base import Backbone
from .tokens import Tokens

FORMS = 'features (B, C), a map (B, C, h, w), or tokens (B, N, C) of a square grid'


@MODELS.register_module()
class ModuleBackbone(Backbone):
    """A module of images (B, 3, H, W) that gives features, a map or tokens.

    They are (B, C), (B, C, h, w) or (B, N, C). Tokens are a square grid, the class token first
    where there is one more. Of several outputs the last counts, of a dict 'out' or
    'last_hidden_state'. The width is learnt from one image of ``img_size`` pixels. Raises
    UserError for another output, by the shape that came.
    """

    def __init__(self, net: nn.Module, img_size: int = 224, **dense: Any) -> None:
        super().__init__(**dense)
        self.net = net
        training = net.training
        parameter = next(net.parameters(), torch.zeros(()))
        image = torch.zeros(1, self.in_channels, img_size, img_size, dtype=parameter.dtype)
        with torch.no_grad():
            (tokens,) = self.eval().iter_blocks(image.to(parameter.device))
        self.train(training)
        _, _, w, self.num_features = tokens.grid.shape
        self.widths = (self.num_features,)
        self.strides = (img_size // w,)
        self.stage_ends = (0,)
        self.finalize()

    def iter_blocks(self, x: Tensor, mask: Tensor | None = None) -> Iterator[Tokens]:
        """Yield the output of the module for x (B, 3, H, W) as tokens.

        Raises UserError for a mask, and for an output of another form.
        """
        name = type(self.net).__name__
        if mask is not None:
            raise UserError(
                f'{name} has no mask token; use VisionTransformer for masked objectives',
                key='mask',
                value=tuple(mask.shape),
            )
        yield _as_tokens(self.net(x), len(x), name)

    def stem_and_stages(self) -> tuple[list[nn.Module | nn.Parameter], list[list[nn.Module]]]:
        """Return no stem and one stage."""
        return [], [[self.net]]


def _as_tokens(output: Any, rows: int, name: str) -> Tokens:
    """Return an output for ``rows`` images as tokens. Raises UserError for another form."""
    found = output
    if isinstance(found, dict):  # torchvision's segmenters, Hugging Face's outputs
        found = found.get('last_hidden_state', found.get('out'))
    elif hasattr(found, 'last_hidden_state'):
        found = found.last_hidden_state
    elif isinstance(found, (list, tuple)) and found:
        found = found[-1]
    if isinstance(found, Tensor) and len(found) == rows:
        if found.ndim == 2:
            return Tokens(None, found[:, None, None])  # (B, 1, 1, C)
        if found.ndim == 4:
            return Tokens(None, found.permute(0, 2, 3, 1))  # (B, h, w, C)
        if found.ndim == 3:
            for extra in (0, 1):
                side = math.isqrt(found.shape[1] - extra)
                if side and side * side == found.shape[1] - extra:
                    grid = found[:, extra:].unflatten(1, (side, side))
                    return Tokens(found[:, :1] if extra else None, grid)
    given = tuple(found.shape) if isinstance(found, Tensor) else type(output).__name__
    raise UserError(
        f'backbone: {name} gives {given} for {rows} image(s), but {FORMS} is needed; wrap it '
        'in a module that returns one of these',
        key='backbone',
        value=given,
    )
