"""Stand-ins for recorded tensors: a few numbers of each, so that a repository can hold them.

A stand-in has ``reduced.`` in front of the tensor's name. It is a vector (70,) float64: largest
absolute element, norm, products with `PRODUCTS` vectors of signs, and `ELEMENTS` elements; signs
and places are drawn from the name.
"""

import lzma
import shutil
import zlib
from pathlib import Path

import torch
from torch import Tensor

PREFIX = 'reduced.'
PRODUCTS = 4
ELEMENTS = 64
WHOLE = 128  # smaller tensors are kept as they are
HEAD = 2 + PRODUCTS  # numbers before the elements


def reduce(name: str, value: Tensor) -> Tensor:
    """Return the stand-in (70,) of a tensor (*) of more than `WHOLE` elements."""
    flat = value.detach().double().flatten()
    signs, places = _draw(name, len(flat))
    head = torch.stack([flat.abs().max(), flat.norm(), *(signs @ flat)])
    return torch.cat([head, flat[places]])


def mask(name: str, chosen: Tensor) -> Tensor:
    """Return which numbers of a stand-in (70,) depend on chosen elements (*) alone."""
    flat = chosen.flatten()
    _, places = _draw(name, len(flat))
    return torch.cat([flat.all().expand(HEAD), flat[places]])


def error(ours: Tensor, expected: Tensor, which: Tensor | None = None) -> float:
    """Return the largest difference of two stand-ins (70,), relative to the largest element.

    ``which`` (70,) says which numbers count.
    """
    chosen = torch.ones_like(expected, dtype=torch.bool) if which is None else which
    if not chosen.any():
        return 0.0
    difference = (ours - expected)[chosen].abs().max() / expected[0].clamp_min(1e-12)
    return float(difference) if torch.isfinite(difference) else float('inf')


def _draw(name: str, count: int) -> tuple[Tensor, Tensor]:
    """Return signs (4, count) and places (64,) of a name."""
    generator = torch.Generator().manual_seed(zlib.crc32(name.encode()))
    signs = torch.randint(0, 2, (PRODUCTS, count), generator=generator) * 2 - 1
    return signs.double(), torch.randperm(count, generator=generator)[:ELEMENTS]


def unpack(folder: Path, target: Path) -> Path:
    """Copy the files of a case into ``target``, those that xz has compressed as they were."""
    target.mkdir()
    for file in folder.iterdir():
        if file.suffix == '.xz':
            (target / file.stem).write_bytes(lzma.decompress(file.read_bytes()))
        else:
            shutil.copyfile(file, target / file.name)
    return target
