"""A data set of your own that makes its own views: two neighbouring frames of a signal."""

import random

import torch
from torch.utils.data import Dataset

from mmssl.registry import DATASETS


@DATASETS.register_module()
class NeighbouringFrames(Dataset):
    """Two frames, some steps apart, of one of ``count`` moving gratings."""

    takes_epoch = True  # items are asked for by (epoch, index), so that each epoch sees others

    def __init__(self, count: int = 512, size: int = 32, seed: int = 0) -> None:
        self.count = count
        self.size = size
        self.seed = seed  # given by the runner: randomness.seed

    def __len__(self) -> int:
        return self.count

    def frame(self, index: int, time: float) -> torch.Tensor:
        """Return one frame (3, size, size) of 0 to 255, as uint8."""
        axis = torch.linspace(0, 1, self.size)
        wave = torch.sin((4 + index % 13) * axis[None, :] + (2 + index % 7) * axis[:, None] + time)
        return (127.5 * (1 + wave)).to(torch.uint8).expand(3, -1, -1).contiguous()

    def __getitem__(self, at: tuple[int, int]) -> dict:
        epoch, index = at
        draw = random.Random(f'{self.seed}-{epoch}-{index}')  # resumed runs see the same
        times = [draw.uniform(0, 6), draw.uniform(0, 6)]
        return dict(inputs=[self.frame(index, time) for time in times])
