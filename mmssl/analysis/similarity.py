"""The report's sheets of nearest neighbours and patch colours, and their HTML section."""

import random
from typing import Any, NamedTuple

import torch
from PIL import Image
from torch.nn import functional as F
from torch.utils.data import DataLoader, Subset

from ..evaluation.feature_extraction import extract
from ..evaluation.knn import nearest
from ..reports import html_page
from .patches import patch_colors
from .sheets import neighbour_sheet, patch_sheet

MAX_BANK = 2000  # images of the bank that are searched; enough for a figure


class SimilaritySheets(NamedTuple):
    """Two sheets, and the numbers of their captions.

    neighbours: rows of a query and its nearest images; patches: images above their patch colours;
    hits: share of neighbours of the query's class, None without labels; bank: images searched.
    """

    neighbours: Image.Image
    patches: Image.Image
    hits: float | None
    bank: int


def choose_queries(labels: list[int], total: int, count: int) -> list[int]:
    """Pick ``count`` of ``total`` indices, of as many classes as there are; any without labels."""
    rng = random.Random(0)
    order = rng.sample(range(total), total)
    if not labels:
        return sorted(order[:count])
    first = {labels[i]: i for i in reversed(order)}  # one image of each class
    classes = sorted(rng.sample(sorted(first), min(count, len(first))))
    picked = [first[label] for label in classes]
    return (picked + [i for i in order if i not in picked])[:count]


@torch.no_grad()
def similarity_sheets(
    model: Any, bank: Any, queries: Any, count: int = 8, neighbours: int = 8
) -> SimilaritySheets:
    """Find neighbours of ``count`` images of one ImageDataset among those of another.

    ``model`` has `encode` and ``data_preprocessor``; items are uint8 views (3, H, W).
    """
    chosen = choose_queries(queries.labels, len(queries), count)
    names = {queries.name(i) for i in chosen}
    kept = sorted(random.Random(1).sample(range(len(bank)), min(MAX_BANK, len(bank))))
    kept = [i for i in kept if bank.name(i) not in names]

    stored = extract(model, DataLoader(Subset(bank, kept), 64), 'for the report')
    views = torch.stack([queries[i]['inputs'] for i in chosen])  # (Q, 3, H, W)
    model.eval()
    inputs = model.data_preprocessor(dict(inputs=views, data_samples={}))['inputs']
    features = model.encode(inputs).pooled.float()  # (Q, C)
    _, rows = nearest(stored.features, features, min(neighbours, len(stored.features)))
    places = [[kept[j] for j in row] for row in rows.tolist()]  # in the bank
    same_class: list[list[bool]] = [
        [bank.labels[j] == queries.labels[i] for j in row] if queries.labels else []
        for i, row in zip(chosen, places, strict=True)
    ]
    images = [
        [view, *(bank[j]['inputs'] for j in row)] for view, row in zip(views, places, strict=True)
    ]
    # twice the size gives four times the patches
    large = model.encode(F.interpolate(inputs, scale_factor=2, mode='bicubic'))
    colors = patch_colors(large.tokens.float(), large.grid)  # (Q, h, w, 3)
    hits = [hit for row in same_class for hit in row]
    return SimilaritySheets(
        neighbour_sheet(images, same_class, side=96),
        patch_sheet(list(views), colors, 112, Image.Resampling.BICUBIC),
        sum(hits) / len(hits) if hits else None,
        len(kept),
    )


def html_section(sheets: SimilaritySheets | str) -> str:
    """Return the HTML of the sheets, or of the sentence that says why there are none."""
    if isinstance(sheets, str):
        return html_page.missing(sheets)
    caption = (
        f'Left: an image; right of it the images nearest to it among {sheets.bank} training '
        'images, the nearest first. '
    )
    if sheets.hits is not None:
        caption += (
            f'Green frames have the class of the left image: {100 * sheets.hits:.0f} % of those '
            'shown. The network never saw a class.'
        )
    colors = (
        'Below each image its patches, seen at twice the size and coloured by the first three '
        'principal components of their features (the mean of each image is subtracted first): '
        'similar colours are similar features.'
    )
    return html_page.figure(
        html_page.png_bytes(sheets.neighbours), caption, 'images and their neighbours'
    ) + html_page.figure(html_page.png_bytes(sheets.patches), colors, 'patch features as colours')
