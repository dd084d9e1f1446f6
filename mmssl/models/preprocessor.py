"""Data preprocessor: moves views to the device, applies colours there, normalises them."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from mmengine.logging import print_log
from mmengine.model import BaseDataPreprocessor
from torch import Tensor

from ..core import UserError
from ..functional.color import apply_color
from ..registry import MODELS
from .backbones import Backbone
from .branch import group_by_size

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def shares(name: str, values: Sequence[float]) -> tuple[float, ...]:
    """Return the mean or std of each channel (C,) as shares of 1, ``name`` says which.

    Raises UserError when they are no list, not numbers, above 1 (of pixels up to 255), below 0,
    or a std of 0.
    """
    key, advice = f'model.data_preprocessor.{name}', ''
    if not isinstance(values, (list, tuple)) or not values:
        advice = 'give a number for each channel, such as three for RGB'
    elif any(isinstance(v, bool) or not isinstance(v, (int, float)) for v in values):
        advice = 'give numbers'
    elif not all(map(math.isfinite, values)):
        advice = 'give finite numbers'
    elif max(values) > 1:
        advice = 'these are shares of 1: divide by 255'
    elif not min(values) >= 0 or (name == 'std' and min(values) == 0):
        advice = f'give numbers {"above" if name == "std" else "of at least"} 0'
    if advice:
        raise UserError(f'{key}={values!r}: {advice}', key=key, value=values)
    return tuple(map(float, values))


@MODELS.register_module()
class ViewPreprocessor(BaseDataPreprocessor):
    """Move views (B, C, H, W), uint8 or uint16, to the device and normalise them to float32.

    Floating views only take the type of the network: they are normalised already. ``mean`` and
    ``std`` are shares of 1, one for each channel: by default ImageNet's, or those that a network of
    timm states (`adopt`); SwAV's red std is 0.228 where MoCo's is 0.229. Views that left the loader
    without their colours (MultiView(pixels='device')) get them here, by ``color_params`` (B, V,
    12). Raises UserError as `shares` does, and for a mean and a std of different lengths.
    """

    def __init__(
        self, mean: Sequence[float] | None = None, std: Sequence[float] | None = None
    ) -> None:
        super().__init__(non_blocking=True)  # loaders pin memory
        self.is_default = mean is None and std is None
        for name, given, imagenet in (('mean', mean, IMAGENET_MEAN), ('std', std, IMAGENET_STD)):
            values = imagenet if given is None else shares(name, given)
            self.register_buffer(name, torch.tensor(values).view(-1, 1, 1), persistent=False)
        if len(self.mean) != len(self.std):
            key = 'model.data_preprocessor.std'
            raise UserError(
                f'{key}: {len(self.std)} numbers, and mean has {len(self.mean)}; give both one for '
                'each channel',
                key=key,
                value=std,
            )

    def adopt(self, backbone: Backbone) -> None:
        """Take the normalisation that a backbone's library states, unless one was given.

        Raises UserError where the backbone is for images of another number of channels.
        """
        if len(self.mean) != backbone.in_channels:
            raise UserError(
                f'model.data_preprocessor.mean: {len(self.mean)} numbers for a backbone of '
                f'in_channels={backbone.in_channels}; give data_preprocessor=dict('
                "type='ViewPreprocessor', mean=..., std=...) with one of each for every channel",
                key='model.data_preprocessor.mean',
                value=len(self.mean),
            )
        stated = backbone.normalisation
        if stated is None or not self.is_default:
            return
        for name, values in zip(('mean', 'std'), stated, strict=True):
            buffer = self.get_buffer(name)
            buffer.copy_(torch.tensor(values).view(-1, 1, 1))
        if stated != (IMAGENET_MEAN, IMAGENET_STD):
            print_log(
                f'images are normalised as the network states: mean={stated[0]}, std={stated[1]}; '
                'for others set model.data_preprocessor',
                logger='current',
            )

    def normalize(self, view: Tensor) -> Tensor:
        """Normalise pixels (..., C, H, W) -> float, of mean 0 and standard deviation 1.

        Bytes are divided by 255, uint16 by 65535.

        Raises UserError for another number of channels.
        """
        if view.shape[-3:-2] != self.mean.shape[:1]:
            raise UserError(
                f'inputs: views must be (B, {len(self.mean)}, H, W), got {tuple(view.shape)}; the '
                'data set must make so many channels of each image, or model.data_preprocessor '
                'have mean and std of those it makes',
                key='inputs',
                value=tuple(view.shape),
            )
        if view.is_floating_point():
            return view.to(self.mean.dtype)
        highest = 0xFFFF if view.dtype == torch.uint16 else 0xFF
        return view.to(self.mean.dtype).div_(highest).sub_(self.mean).div_(self.std)

    def forward(self, data: dict[str, Any], training: bool = False) -> dict[str, Any]:
        """Return data on the device, its ``inputs`` normalised.

        They are a view (B, C, H, W) or a list of views.
        """
        samples = data.get('data_samples')
        # taken before the move: colours are decided on the CPU
        color_params = samples.get('color_params') if isinstance(samples, dict) else None
        data = self.cast_data(data)
        inputs = data['inputs']
        if isinstance(inputs, Tensor):
            return {**data, 'inputs': self.normalize(inputs)}
        if color_params is not None:
            data['data_samples'] = {
                key: value for key, value in data['data_samples'].items() if key != 'color_params'
            }
            inputs = self._coloured(inputs, color_params)
        return {**data, 'inputs': [self.normalize(view) for view in inputs]}

    def _coloured(self, views: list[Tensor], color_params: Tensor) -> list[Tensor]:
        """Apply color_params (B, V, 12), those of consecutive views of one size together."""
        found: list[Tensor] = []
        rows = color_params.transpose(0, 1)  # (V, B, 12)
        for group in group_by_size(views):
            own = rows[len(found) : len(found) + len(group)].flatten(0, 1)
            found += self.apply_color(torch.cat(group), own).chunk(len(group))
        return found

    def apply_color(self, view: Tensor, color_params: Tensor) -> Tensor:
        """Apply colour parameters (B, 12) to uint8 views (B, 3, H, W) -> uint8, rounded."""
        coloured = apply_color(view.to(self.mean.dtype), color_params)
        return coloured.round_().clamp_(0, 255).to(torch.uint8)


def adopt_normalisation(preprocessor: Any, backbone: Backbone) -> None:
    """Let a preprocessor of ours take what the network states; others keep their own."""
    if isinstance(preprocessor, ViewPreprocessor):
        preprocessor.adopt(backbone)
