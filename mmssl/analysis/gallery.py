"""Pictures of what a trained backbone takes for alike."""

import random
from typing import Any, NamedTuple

import torch
from PIL import Image
from torch.nn import functional as F
from torch.utils.data import DataLoader, Subset

from ..evaluation.features import extract
from .patches import PLAIN, RIGHT, WRONG, color_picture, mosaic, nearest, patch_colors, picture

MOST = 2000  # images of the bank looked through; enough for a picture


class Gallery(NamedTuple):
    """Two sheets, and what their captions say.

    nearest: rows of a query and its neighbours; patches: images above their PCA colours; hits:
    share of neighbours of the query's class, None without labels; bank: images looked through.
    """

    nearest: Image.Image
    patches: Image.Image
    hits: float | None
    bank: int


def choose(labels: list[int], total: int, count: int) -> list[int]:
    """Pick ``count`` indices, of as many classes as there are; without labels any."""
    rng = random.Random(0)
    order = rng.sample(range(total), total)
    if not labels:
        return sorted(order[:count])
    first = {labels[i]: i for i in reversed(order)}  # one image of each class
    classes = sorted(rng.sample(sorted(first), min(count, len(first))))
    picked = [first[label] for label in classes]
    return (picked + [i for i in order if i not in picked])[:count]


@torch.no_grad()
def look(model: Any, bank: Any, queries: Any, count: int = 8, beside: int = 8) -> Gallery:
    """Find neighbours of ``count`` images of one ImageFolder among those of another.

    ``model`` has `encode` and ``data_preprocessor``; items are uint8 views (3, H, W).
    """
    chosen = choose(queries.labels, len(queries), count)
    kept = sorted(random.Random(1).sample(range(len(bank)), min(MOST, len(bank))))
    own = {queries.name(i) for i in chosen}
    kept = [i for i in kept if bank.name(i) not in own]

    stored = extract(model, DataLoader(Subset(bank, kept), 64), 'for pictures')
    views = torch.stack([queries[i]['inputs'] for i in chosen])  # (Q, 3, H, W)
    model.eval()
    inputs = model.data_preprocessor(dict(inputs=views, data_samples={}))['inputs']
    features = model.encode(inputs).pooled.float()  # (Q, C)
    found = nearest(stored.features, features, beside).tolist()
    rows, hits = [], []
    frames: list[list[str]] = []
    for i, row in zip(chosen, found, strict=True):
        images = [picture(bank[kept[j]]['inputs']) for j in row]
        rows.append([picture(queries[i]['inputs']), *images])
        same = [bank.labels[kept[j]] == queries.labels[i] for j in row if queries.labels]
        frames.append([PLAIN, *(RIGHT if hit else WRONG for hit in same)])
        hits += same
    # twice the size gives four times the patches
    large = model.encode(F.interpolate(inputs, scale_factor=2, mode='bicubic'))
    colors = patch_colors(large.tokens.float(), large.grid)  # (Q, h, w, 3)
    sheet = mosaic([[picture(v) for v in views], [color_picture(c) for c in colors]], side=112)
    share = sum(hits) / len(hits) if hits else None
    return Gallery(mosaic(rows, frames, gap_after=1), sheet, share, len(kept))
