"""SimpleFPN: a feature pyramid from the last map of a ViT (ViTDet), for mmdet and mmseg."""

from collections.abc import Sequence

from timm.layers import LayerNorm2d
from torch import Tensor, nn
from torch.nn import functional as F

from ..core import UserError
from ..registry import MODELS


def _rescaling_layers(width: int, scale: float) -> tuple[list[nn.Module], int]:
    """Return (layers that bring a map of ``width`` channels to ``scale``, their channels)."""
    if scale == 4:
        up = [nn.ConvTranspose2d(width, width // 2, 2, 2), LayerNorm2d(width // 2), nn.GELU()]
        return [*up, nn.ConvTranspose2d(width // 2, width // 4, 2, 2)], width // 4
    if scale == 2:
        return [nn.ConvTranspose2d(width, width // 2, 2, 2)], width // 2
    if scale == 1:
        return [], width
    if scale == 0.5:
        return [nn.MaxPool2d(2, 2)], width
    raise UserError(
        f'SimpleFPN.scales: {scale} is unknown; use some of 4, 2, 1, 0.5',
        key='SimpleFPN.scales',
        value=scale,
    )


@MODELS.register_module()
class SimpleFPN(nn.Module):
    """Feature pyramid made of a ViT's last map alone, without a top-down path (Li et al. 2022).

    ``scales`` are those of the levels, relative to the map: (4, 2, 1, 0.5) turns stride 16 into
    4, 8, 16, 32. Levels of ``num_outs`` beyond them are the last one with stride 2. Each level
    passes 1x1 and 3x3 convolutions of ``out_channels`` with LayerNorm over channels (ViTDet,
    section 3; detectron2's ``SimpleFeaturePyramid``). Raises UserError for another scale, and for
    fewer ``num_outs`` than scales.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int = 256,
        num_outs: int = 5,
        scales: Sequence[float] = (4, 2, 1, 0.5),
    ) -> None:
        super().__init__()
        if num_outs < len(scales):
            raise UserError(
                f'SimpleFPN.num_outs={num_outs}, but there are {len(scales)} scales: raise it, or '
                'give fewer scales',
                key='SimpleFPN.num_outs',
                value=num_outs,
            )
        self.num_outs = num_outs
        self.levels = nn.ModuleList()
        for scale in scales:
            layers, width = _rescaling_layers(in_channels, scale)
            for inner, kernel in ((width, 1), (out_channels, 3)):
                conv = nn.Conv2d(inner, out_channels, kernel, padding=kernel // 2, bias=False)
                layers += [conv, LayerNorm2d(out_channels)]
            self.levels.append(nn.Sequential(*layers))

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """One map (B, C, h, w) in a sequence -> ``num_outs`` maps (B, out_channels, h_i, w_i).

        Raises UserError when there is not exactly one map.
        """
        if len(maps) != 1:
            raise UserError(
                f'SimpleFPN got {len(maps)} maps and reads one: give the backbone one out_indices',
                key='maps',
                value=len(maps),
            )
        # the norms leave channels last, and mmcv's RoIAlign reads memory as if they never were
        levels = [level(maps[0]).contiguous() for level in self.levels]
        while len(levels) < self.num_outs:
            levels.append(F.max_pool2d(levels[-1], 1, 2))
        return tuple(levels)
