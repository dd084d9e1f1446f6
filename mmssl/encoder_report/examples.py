"""Sections of images: which one model alone gets right, neighbours, attention, side by side."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..analysis.sheets import RIGHT, WRONG, to_image
from ..core import UserError
from ..datasets import ImageDataset
from ..datasets.transforms.load_image import LoadImage
from ..registry import TRANSFORMS
from ..reports import html_page
from ..reports.html_page import Section
from .cells import Cell
from .data import OpenedData
from .drawings import attention_figure, captioned_images, named_rows
from .figures import Figure, Place, Verdict
from .models import Model

Cells = Mapping[tuple[str, str], Mapping[str, Cell]]
SHOWN = 6  # models whose neighbours and attention are shown
ROWS = 4  # images of them
CLASSES = 3  # classes that a model wins, and loses
EXAMPLES = 6  # images of each


class Content(NamedTuple):
    """What the page is made of: models, data, cells, figures, verdicts, costs, facts of the run."""

    models: Sequence[Model]
    opened: Sequence[OpenedData]
    cells: Cells
    table: Mapping[str, Mapping[Place, Figure]]
    verdicts: Sequence[Verdict]
    costs: Mapping[str, dict[str, Any]]
    facts: dict[str, Any]


def _image(images: ImageDataset, index: int) -> Image.Image:
    """Return an image as it is stored, grey where it cannot be read."""
    try:
        found: Image.Image = LoadImage().open(images.read(index), images.name(index)).pil
        return found.convert('RGB')
    except UserError:
        return Image.new('RGB', (64, 64), '#9aa5b1')


def _first_runs(content: Content, order: Sequence[str]) -> dict[str, str]:
    """Return the label of the first run of each model, in ``order``."""
    labels = {model.name: model.runs[0].label for model in content.models}
    return {name: labels[name] for name in order}


def _of_runs(content: Content, order: Sequence[str], data: str, measure: str) -> dict[str, Cell]:
    """Return the cells of the first runs that have arrays, by model."""
    found = {}
    for name, label in _first_runs(content, order).items():
        cell = content.cells[label, data].get(measure)
        if cell is not None and cell.arrays:
            found[name] = cell
    return found


def _shown(
    content: Content, order: Sequence[str], name: str
) -> Iterator[tuple[OpenedData, dict[str, Cell], list[int]]]:
    """Yield, of each data set with such cells, those of the first models, and the test images."""
    for opened in content.opened:
        found = dict(list(_of_runs(content, order, opened.data.name, name).items())[:SHOWN])
        if found:
            queries = next(iter(found.values())).arrays['queries']
            yield opened, found, queries[:ROWS].tolist()


def winners(content: Content, order: Sequence[str]) -> Iterator[Section]:
    """Yield, of each data set, classes and images in which the two best models differ most."""
    for opened in content.opened:
        data = opened.data.name
        answers = _of_runs(content, order, data, 'linear')
        if len(answers) < 2:
            continue
        (first, a), (second, b) = list(answers.items())[:2]
        labels = a.arrays['labels']
        hits = [cell.arrays['predicted'] == labels for cell in (a, b)]
        shares = np.array(
            [[100 * hit[labels == c].mean() for c in np.unique(labels)] for hit in hits]
        )
        gaps = shares[0] - shares[1]
        classes = np.unique(labels)
        ahead = np.argsort(-gaps, kind='stable')
        chosen = [i for i in ahead[:CLASSES] if gaps[i] > 0]
        chosen += [i for i in ahead[::-1][:CLASSES][::-1] if gaps[i] < 0]
        if not chosen:
            continue
        names = opened.test.classes
        rows = [
            [names[classes[i]], f'{shares[0, i]:.0f}', f'{shares[1, i]:.0f}', f'{gaps[i]:+.0f}',
             str(int((labels == classes[i]).sum()))]
            for i in chosen
        ]  # fmt: skip
        body = html_page.text(
            f'Classes in which {first} and {second}, the two of the best mean rank here, differ '
            'most by their linear layers (percent right), and images that one alone gets right.',
            'soft',
        )
        body += html_page.table(['class', first, second, 'points', 'images'], rows)
        pictures = []
        for mine, other, name, lost in ((0, 1, first, second), (1, 0, second, first)):
            only = np.flatnonzero(hits[mine] & ~hits[other])
            if len(only):
                pictures.append(_only(opened, a, only, name, lost, (a, b)[other]))
        body += html_page.figures(pictures)
        yield Section(f'Winners and losers: {data}', body)


def _only(
    opened: OpenedData, cell: Cell, only: NDArray[Any], name: str, lost: str, other: Cell
) -> str:
    """Return the figure of images that one model alone gets right, by what the other said."""
    names = opened.test.classes
    shown = only[np.linspace(0, len(only) - 1, min(2 * EXAMPLES, len(only))).astype(int)]
    images = [
        (
            _image(opened.test, int(cell.arrays['indices'][i])),
            names[cell.arrays['labels'][i]],
            names[other.arrays['predicted'][i]],
        )
        for i in shown
    ]
    png = html_page.png_bytes(captioned_images(images, columns=4))
    caption = (
        f'{len(only)} images that {name} gets right and {lost} does not: their class, and what '
        f'{lost} said.'
    )
    return html_page.figure(png, caption, f'only {name} is right')


def neighbours(content: Content, order: Sequence[str]) -> Iterator[Section]:
    """Yield, of each data set with classes, the nearest images of some by each model."""
    for opened, found, queries in _shown(content, order, 'neighbours'):
        pictures = []
        for place, query in enumerate(queries):
            label = opened.test.labels[query]
            rows = []
            for name, cell in found.items():
                near = cell.arrays['neighbours'][place].tolist()
                frames = [RIGHT if opened.train.labels[i] == label else WRONG for i in near]
                images = [_image(opened.test, query), *(_image(opened.train, i) for i in near)]
                rows.append((name, images, ['', *frames]))
            caption = (
                f'{opened.test.classes[label]}: left the test image, right of it the training '
                'images nearest to it. Green: of its class; red: of another.'
            )
            png = html_page.png_bytes(named_rows(rows, 64))
            pictures.append(html_page.figure(png, caption, 'neighbours of an image'))
        body = html_page.figures(pictures, stretch=False)
        yield Section(f'Neighbours: {opened.data.name}', body)


def attention(content: Content, order: Sequence[str]) -> Iterator[Section]:
    """Yield, of each data set, the attention of the models that have any."""
    view = TRANSFORMS.build(dict(type='CenterView', size=160, resize=160))
    for opened, found, queries in _shown(content, order, 'attention'):
        pictures = []
        for place, query in enumerate(queries):
            pixels = view(dict(image=_image(opened.test, query)))['inputs']
            maps = {name: cell.arrays['maps'][place] for name, cell in found.items()}
            png = attention_figure(np.asarray(to_image(pixels)), maps)
            pictures.append(
                html_page.figure(png, Path(opened.test.name(query)).name, 'attention of models')
            )
        without = [n for n in order if n not in found]
        text = (
            'Attention of the last block, mean over its heads: from the class token, or where '
            'there is none what patches get on average.'
        )
        if without:
            text += f' Not shown: {", ".join(without)}.'
        body = html_page.text(text, 'soft') + html_page.figures(pictures, stretch=False)
        yield Section(f'Attention: {opened.data.name}', body)
