"""Seeds of the random numbers of an item's views, by seed of the data set, epoch and index."""

import torch


def view_seed(seed: int, epoch: int | None, index: int) -> str:
    """Return the seed of all random numbers of one item; equal arguments give equal views.

    Without an ``epoch`` each call draws another seed, from torch's generator.
    """
    part = f'draw{int(torch.randint(2**62, ()))}' if epoch is None else str(epoch)
    return f'{seed}-{part}-{index}'
