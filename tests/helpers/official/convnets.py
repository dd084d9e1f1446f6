"""Convolutional networks in the layouts of the official codes."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Block = dict[str, Any]


# ResNet -------------------------------------------------------------------------------------------
class Bottleneck(nn.Module):
    def __init__(self, inner: int, planes: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inner, planes, 1, bias=False), nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv3 = nn.Conv2d(planes, 4 * planes, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * planes)
        if stride != 1 or inner != 4 * planes:
            conv = nn.Conv2d(inner, 4 * planes, 1, stride, bias=False)
            self.downsample = nn.Sequential(conv, nn.BatchNorm2d(4 * planes))

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn1(self.conv1(x)).relu()
        y = self.bn2(self.conv2(y)).relu()
        y = self.bn3(self.conv3(y))
        found: Tensor = (y + (self.downsample(x) if hasattr(self, 'downsample') else x)).relu()
        return found


class ResNet(nn.Module):
    """`forward` returns the pooled last map (B, C)."""

    def __init__(self, b: Block) -> None:
        super().__init__()
        width = b['stem_width']
        self.conv1 = nn.Conv2d(3, width, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.stages, inner = len(b['layers']), width
        for i, count in enumerate(b['layers']):
            planes, blocks = width * 2**i, []
            for j in range(count):
                blocks.append(Bottleneck(inner, planes, 2 if i and not j else 1))
                inner = 4 * planes
            setattr(self, f'layer{i + 1}', nn.Sequential(*blocks))

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(self.bn1(self.conv1(x)).relu(), 3, 2, 1)
        for i in range(self.stages):
            x = getattr(self, f'layer{i + 1}')(x)
        return x.mean((2, 3))


# CvT ----------------------------------------------------------------------------------------------
class ChannelNorm(nn.LayerNorm):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Qkv(nn.Module):
    def __init__(self, dim: int, bias: bool) -> None:
        super().__init__()
        self.dw = nn.Conv2d(dim, dim, 3, padding=1, groups=dim, bias=False)
        self.bn = nn.BatchNorm2d(dim)
        self.pw = nn.Conv2d(dim, 3 * dim, 1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.pw(self.bn(self.dw(x)))
        return found


class CvTAttention(nn.Module):
    def __init__(self, dim: int, heads: int, window: int, bias: bool) -> None:
        super().__init__()
        self.heads, self.window = heads, window
        self.qkv, self.proj_out = Qkv(dim, bias), nn.Conv2d(dim, dim, 1)

    def forward(self, y: Tensor) -> Tensor:
        b, c, h, w = y.shape
        size = min(self.window, h, w)
        qkv = self.qkv(F.pad(y, (0, -w % size, 0, -h % size)))  # (B, 3C, h', w')
        out = torch.empty_like(qkv[:, :c])
        for top in range(0, qkv.shape[2], size):
            for left in range(0, qkv.shape[3], size):
                part = (slice(top, top + size), slice(left, left + size))
                q, k, v = (
                    t.flatten(2).view(b, self.heads, c // self.heads, -1).transpose(2, 3)
                    for t in qkv[:, :, part[0], part[1]].chunk(3, 1)
                )  # (B, M, w*w, C/M)
                mixed = (q @ k.transpose(2, 3) * c**-0.5).softmax(-1) @ v
                out[:, :, part[0], part[1]] = mixed.transpose(2, 3).reshape(b, c, size, size)
        found: Tensor = self.proj_out(out[:, :, :h, :w])
        return found


class Quick(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(1.702 * x)


class Ffn(nn.Module):
    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(dim, hidden, 1), Quick(), nn.Conv2d(hidden, dim, 1))

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.net(x)
        return found


class Residual(nn.Module):
    def __init__(self, dim: int, fn: nn.Module) -> None:
        super().__init__()
        self.norm, self.fn = ChannelNorm(dim), fn

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = x + self.fn(self.norm(x))
        return found


class Embed(nn.Module):
    def __init__(self, inner: int, dim: int, kernel: int, stride: int, padding: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(inner, dim, kernel, stride, padding)
        self.norm = ChannelNorm(dim)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.norm(self.proj(x))
        return found


class Layers(nn.Module):
    def __init__(self, layers: list[nn.Module]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return x


class CvT(nn.Module):
    """`forward` returns tokens (B, N, C) after the last norm."""

    def __init__(self, b: Block) -> None:
        super().__init__()
        inner, self.stages = 3, len(b['embed_dims'])
        for i, dim in enumerate(b['embed_dims']):
            conv = (b[f'patch_{name}'][i] for name in ('sizes', 'strides', 'paddings'))
            layers: list[nn.Module] = []
            for _ in range(b['depths'][i]):
                attention = CvTAttention(
                    dim, b['num_heads'][i], b['window_sizes'][i], b['qkv_bias']
                )
                ffn = Ffn(dim, int(dim * b['mlp_ratio']))
                layers.append(nn.Sequential(Residual(dim, attention), Residual(dim, ffn)))
            setattr(self, f'stage{i}', nn.Sequential(Embed(inner, dim, *conv), Layers(layers)))
            inner = dim
        self.norm = ChannelNorm(inner)

    def forward(self, x: Tensor) -> Tensor:
        for i in range(self.stages):
            x = getattr(self, f'stage{i}')(x)
        found: Tensor = self.norm(x).flatten(2).transpose(1, 2)
        return found
