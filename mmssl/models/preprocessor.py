"""Data preprocessor: moves views to the device, applies colours there, normalises them."""

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.model import BaseDataPreprocessor
from torch import Tensor

from ..functional.color import apply_color
from ..registry import MODELS

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@MODELS.register_module()
class ViewPreprocessor(BaseDataPreprocessor):
    """Move uint8 RGB views (B, 3, H, W) to the device and normalise them to float32.

    Floating views pass unchanged: they are normalised already. ``mean`` and ``std`` are shares
    of 1; SwAV's red std is 0.228 where MoCo's is 0.229. Views that left the loader without their
    colours (MultiView(pixels='device')) get them here, by ``color_params`` (B, V, 12).
    """

    def __init__(
        self, mean: Sequence[float] = IMAGENET_MEAN, std: Sequence[float] = IMAGENET_STD
    ) -> None:
        super().__init__(non_blocking=True)  # loaders pin memory
        self.register_buffer('mean', torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer('std', torch.tensor(std).view(3, 1, 1), persistent=False)

    def normalize(self, view: Tensor) -> Tensor:
        """Normalise pixels: uint8 (..., 3, H, W) -> float, of mean 0 and standard deviation 1."""
        if view.is_floating_point():
            return view
        return view.to(self.mean.dtype).div_(255).sub_(self.mean).div_(self.std)

    def forward(self, data: dict[str, Any], training: bool = False) -> dict[str, Any]:
        """Return data on the device, its ``inputs`` normalised.

        They are a view (B, 3, H, W) or a list of views.
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
            inputs = [
                self.apply_color(view, params)
                for view, params in zip(inputs, color_params.unbind(1), strict=True)
            ]
        return {**data, 'inputs': [self.normalize(view) for view in inputs]}

    def apply_color(self, view: Tensor, color_params: Tensor) -> Tensor:
        """Apply colour parameters (B, 12) to uint8 views (B, 3, H, W) -> uint8, rounded."""
        coloured = apply_color(view.to(self.mean.dtype), color_params)
        return coloured.round_().clamp_(0, 255).to(torch.uint8)
