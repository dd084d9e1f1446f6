"""ResNet of torchvision's blocks, with the widths and stems the recipes use."""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck

from ...checkpoint.architecture import RESNETS
from ...core import UserError
from ...core.kinds import Count
from ...registry import MODELS
from .base import Backbone
from .tokens import Tokens

DEPTHS: dict[int, tuple[Any, tuple[int, ...]]] = {
    depth: (Bottleneck if bottleneck else BasicBlock, layers)
    for depth, (bottleneck, layers) in RESNETS.items()
}


def _stage(block: Any, inner: int, width: int, count: int, stride: int) -> nn.Sequential:
    outer = width * block.expansion
    shortcut = None
    if stride != 1 or inner != outer:
        shortcut = nn.Sequential(nn.Conv2d(inner, outer, 1, stride, bias=False))
        shortcut.append(nn.BatchNorm2d(outer))
    first = block(inner, width, stride, shortcut)
    return nn.Sequential(first, *(block(outer, width) for _ in range(count - 1)))


def resnet(
    block: Any, layers: Sequence[int], width: int, small_stem: bool, in_channels: int = 3
) -> nn.Sequential:
    """Build torchvision's ResNet without its classifier, key for key.

    Every width scales with ``width`` (64 is the standard): SwAV's w2 and w4 are not the
    wide-resnet of torchvision, which scales inner convolutions only (``src/resnet50.py``).
    ``small_stem``: 3x3 stride 1 and no pooling, for 32-px images.
    """
    conv = (
        nn.Conv2d(in_channels, width, 3, 1, 1, bias=False)
        if small_stem
        else nn.Conv2d(in_channels, width, 7, 2, 3, bias=False)
    )
    parts: list[tuple[str, nn.Module]] = [('conv1', conv), ('bn1', nn.BatchNorm2d(width))]
    parts += [('relu', nn.ReLU(inplace=True))]
    parts += [('maxpool', nn.Identity() if small_stem else nn.MaxPool2d(3, 2, 1))]
    inner = width
    for i, count in enumerate(layers):
        stage = _stage(block, inner, width * 2**i, count, 1 if i == 0 else 2)
        parts.append((f'layer{i + 1}', stage))
        inner = width * 2**i * block.expansion
    return nn.Sequential(OrderedDict(parts))


@MODELS.register_module()
class ResNet(Backbone):
    """Residual network (He et al. 2016); features are the mean of the last map.

    ``depth`` names a published size; ``layers`` (blocks per stage, bottlenecks) overrides it.
    ``width``: channels of the stem; ``zero_init_residual`` starts each block as the identity
    (MoCo v3: True, SwAV and MoCo v2: False). ``channels_last`` lays out maps pixel by pixel, which
    is faster; weights keep their layout. `freeze` with ``frozen_stages`` 0 freezes conv1 and bn1,
    as OpenMMLab does. Raises UserError for another depth.
    """

    def __init__(
        self,
        depth: int = 50,
        layers: Sequence[int] | None = None,
        width: Count = 64,
        small_stem: bool = False,
        zero_init_residual: bool = False,
        channels_last: bool = True,
        **dense: Any,
    ) -> None:
        super().__init__(**dense)
        if depth not in DEPTHS:
            raise UserError(
                f'ResNet depth {depth} is unknown; use one of {sorted(DEPTHS)}',
                key='depth',
                value=depth,
            )
        block, counts = DEPTHS[depth]
        counts = tuple(layers or counts)
        self.net = resnet(block, counts, width, small_stem, self.in_channels)
        self.layout = torch.channels_last if channels_last else torch.contiguous_format
        self.widths = tuple(width * 2**i * block.expansion for i in range(len(counts)))
        self.strides = tuple((1 if small_stem else 4) * 2**i for i in range(len(counts)))
        self.num_features = self.widths[-1]
        self.stage_ends = tuple(sum(counts[: i + 1]) - 1 for i in range(len(counts)))
        self._init(zero_init_residual)
        self.finalize()

    def _init(self, zero_init_residual: bool) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode='fan_out', nonlinearity='relu')
            elif zero_init_residual and isinstance(module, Bottleneck):
                nn.init.zeros_(module.bn3.weight)
            elif zero_init_residual and isinstance(module, BasicBlock):
                nn.init.zeros_(module.bn2.weight)

    def iter_blocks(self, x: Tensor, mask: Tensor | None = None) -> Iterator[Tokens]:
        """Yield the map (B, h, w, C) after each residual block of x (B, 3, H, W).

        Raises UserError for a mask.
        """
        if mask is not None:
            raise UserError(
                'ResNet has no patch tokens to mask; use a ViT for masked objectives',
                key='mask',
                value=tuple(mask.shape),
            )
        net = self.net
        x = x.contiguous(memory_format=self.layout)
        x = net.maxpool(net.relu(net.bn1(net.conv1(x))))  # (B, C, h, w)
        for i in range(len(self.widths)):
            for block in net.get_submodule(f'layer{i + 1}'):
                x = self.run(block, block, x)
                yield Tokens(None, x.permute(0, 2, 3, 1))  # (B, h, w, C)

    def stem_and_stages(self) -> tuple[list[nn.Module | nn.Parameter], list[list[nn.Module]]]:
        """Return ([conv1, bn1], [layer1], [layer2], ...)."""
        stages = [[self.net.get_submodule(f'layer{i + 1}')] for i in range(len(self.widths))]
        return [self.net.conv1, self.net.bn1], stages
