"""Seeds of the random numbers of an item's views, by data set's seed, epoch, index and repeat."""

import torch


def view_seed(seed: int, epoch: int | None, index: int, repeat: int = 0) -> str:
    """Return the seed of all random numbers of one item; equal arguments give equal views.

    Without an ``epoch`` each call draws another seed, from torch's generator. ``repeat`` counts
    the times that an image comes in one epoch, where a sampler repeats it.
    """
    part = f'draw{int(torch.randint(2**62, ()))}' if epoch is None else str(epoch)
    return f'{seed}-{part}-{index}' + (f'-{repeat}' if repeat else '')
