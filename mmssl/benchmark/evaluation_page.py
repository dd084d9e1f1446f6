"""The page of `mmssl evaluate`: verdicts, tables, curves, costs, and images of two models."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import mean
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
from ..reports.html_page import Noted, Section
from .cells import Cell
from .data import OpenedData
from .drawings import (
    attention_figure,
    bars,
    captioned_images,
    few_label_curves,
    named_rows,
)
from .figures import Figure, Place, Verdict
from .models import Model
from .suites import MEASURES

Cells = Mapping[tuple[str, str], Mapping[str, Cell]]
MAIN = (
    *('knn', 'linear', 'retrieval', 'knn_segmentation', 'linear_segmentation', 'correspondence'),
    'finetune',
)
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


def ranked(models: Sequence[Model], table: Mapping[str, Mapping[Place, Figure]]) -> list[str]:
    """Return the names of the models by their mean rank over all figures, the best first."""
    ranks: dict[str, list[float]] = {model.name: [] for model in models}
    for place in {place for figures in table.values() for place in figures}:
        there = [name for name in ranks if place in table[name]]
        for name in there:
            value = table[name][place].value
            ranks[name].append(sum(table[other][place].value > value for other in there))
    order = list(ranks)
    return sorted(order, key=lambda name: (mean(ranks[name] or [len(order)]), order.index(name)))


def leading(order: Sequence[str], verdicts: Sequence[Verdict]) -> list[Verdict]:
    """Return, of each main measure, the verdicts about the first of ``order`` that has any."""
    found = []
    for name in MAIN:
        of_measure = [v for v in verdicts if v.measure == name]
        first = next((n for n in order if any(n in (v.first, v.second) for v in of_measure)), '')
        mine = [v for v in of_measure if first in (v.first, v.second)]
        found += sorted(mine, key=lambda v: order.index(v.second if v.first == first else v.first))
    return found


def build(content: Content, extra: Sequence[Section] = ()) -> str:
    """Return the whole page: self-contained HTML."""
    order = ranked(content.models, content.table)
    names = [opened.data.name for opened in content.opened]
    tiles = [
        (str(len(content.models)), 'models'),
        (str(sum(len(m.runs) for m in content.models)), 'sets of weights'),
        (str(len(names)), 'data sets'),
        (content.facts['suite'], 'suite'),
    ]
    sections = [
        _verdict_section(content, order),
        *_tables(content, order),
        *_charts(content, order),
        _cost_section(content, order),
        *_winners(content, order),
        *_neighbours(content, order),
        *_attention(content, order),
        *extra,
        _how(content),
    ]
    lead = (
        f'{", ".join(order)} on {", ".join(names)}. Below a figure its 95 % interval: what other '
        'test images would give, and behind “seeds” what other training runs would.'
    )
    return html_page.page(
        'How good are these encoders?', 'mmssl evaluate', lead, html_page.tiles(tiles), sections
    )


def _verdict_section(content: Content, order: Sequence[str]) -> Section:
    first = leading(order, content.verdicts)
    body = ''
    if not first:
        body = html_page.missing('One model alone: there is nothing to compare it with.')
    for name in MAIN:
        sentences = [v.sentence for v in first if v.measure == name]
        if sentences:
            body += html_page.heading(MEASURES[name].title) + html_page.items(sentences)
    others = [v for v in content.verdicts if v not in first]
    if others:
        rest = [f'{MEASURES[v.measure].title}: {v.sentence}' for v in others]
        body += html_page.items(rest, f'{len(rest)} other pairs and measures')
    return Section('Which is better', body)


def _noted(figure: Figure, best: bool) -> Noted:
    low, high = figure.over_images
    note = f'{low:.1f} to {high:.1f}'
    if figure.over_seeds:
        note += f'; {len(figure.seeds)} seeds {figure.over_seeds.low:.1f} to '
        note += f'{figure.over_seeds.high:.1f}'
    return Noted(f'{figure.value:.1f}', note, best)


def _table(content: Content, order: Sequence[str], columns: Sequence[tuple[str, Place]]) -> str:
    """Return a table of models by (title, place) columns; the best of each stands out."""
    best = {
        place: max(order, key=lambda n: content.table[n][place].value if place in content.table[n]
                   else -1.0)
        for _, place in columns
    }  # fmt: skip
    rows: list[list[str | Noted]] = []
    for name in order:
        figures = content.table[name]
        row: list[str | Noted] = [name]
        for _, place in columns:
            row.append(_noted(figures[place], best[place] == name) if place in figures else '–')
        if any(place in figures for _, place in columns):
            rows.append(row)
    return html_page.table(['', *(title for title, _ in columns)], rows)


def _there(content: Content, measure: str) -> list[str]:
    """Return the data sets that have figures of a measure."""
    names = [opened.data.name for opened in content.opened]
    return [n for n in names if any((n, measure) in figures for figures in content.table.values())]


def _tables(content: Content, order: Sequence[str]) -> Iterator[Section]:
    for name in MAIN:
        data = _there(content, name)
        if data:
            measure = MEASURES[name]
            said = f'{measure.meaning[0].upper()}{measure.meaning[1:]}. In percent.'
            body = html_page.text(said, 'soft')
            body += _table(content, order, [(d, (d, name)) for d in data])
            yield Section(measure.title, body)


def _sizes(content: Content, data: str) -> list[int]:
    found = {
        int(name.rpartition('_')[2])
        for figures in content.table.values()
        for of, name in figures
        if of == data and name.startswith('few_labels_')
    }
    return sorted(found)


def _charts(content: Content, order: Sequence[str]) -> Iterator[Section]:
    for opened in content.opened:
        data = opened.data.name
        pictures = []
        for name in MAIN:
            figures = {n: f[data, name] for n, f in content.table.items() if (data, name) in f}
            if figures:
                title = MEASURES[name].title
                caption = f'{title} on {data}, percent.'
                pictures.append(html_page.figure(bars(figures, order, title), caption, title))
        few = ''
        if sizes := _sizes(content, data):
            curves = {
                n: {s: content.table[n][data, f'few_labels_{s}'] for s in sizes
                    if (data, f'few_labels_{s}') in content.table[n]}
                for n in order
            }  # fmt: skip
            curves = {name: curve for name, curve in curves.items() if curve}
            picture = few_label_curves(curves, order, 'Few labels')
            caption = (
                f'Accuracy on {data} with few labelled images of each class, mean of five draws; '
                'bands are intervals over test images.'
            )
            pictures.append(html_page.figure(picture, caption, 'few labels'))
            columns = [(f'{s} a class', (data, f'few_labels_{s}')) for s in sizes]
            few = html_page.heading('Few labels') + _table(content, order, columns)
        if pictures:
            note = 'Thick lines: intervals over images; thin lines and ticks: seeds.'
            body = html_page.figures(pictures, stretch=False) + few
            yield Section(data, html_page.text(note, 'soft') + body)


def _cost_section(content: Content, order: Sequence[str]) -> Section:
    rows = []
    for name in order:
        cost = content.costs.get(name, {})
        if not cost:
            continue
        speed = cost['images_per_second']
        rows.append(
            [
                name,
                f'{cost["parameters"] / 1e6:.2f} M' if cost['parameters'] else '–',
                f'{cost["flops"] / 1e9:.3f} G' if cost['flops'] else '–',
                '–' if speed is None else f'{speed:,.0f}',
                f'{cost["size"]} px',
            ]
        )
    machine = content.facts['machine']
    where = ', '.join(machine['gpus']) or f'{machine["processor"]}, {machine["threads"]} thread(s)'
    text = f'Of one image; a multiplication with its addition counts once. Speed on {where}.'
    head = ['', 'parameters', 'operations', 'images/s', 'image size']
    return Section('Cost', html_page.text(text, 'soft') + html_page.table(head, rows))


# images -------------------------------------------------------------------------------------------
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


def _winners(content: Content, order: Sequence[str]) -> Iterator[Section]:
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


def _neighbours(content: Content, order: Sequence[str]) -> Iterator[Section]:
    for opened in content.opened:
        found = _of_runs(content, order, opened.data.name, 'neighbours')
        found = dict(list(found.items())[:SHOWN])
        if not found:
            continue
        pictures = []
        queries = next(iter(found.values())).arrays['queries'][:ROWS]
        for place, query in enumerate(queries.tolist()):
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


def _attention(content: Content, order: Sequence[str]) -> Iterator[Section]:
    for opened in content.opened:
        found = _of_runs(content, order, opened.data.name, 'attention')
        found = dict(list(found.items())[:SHOWN])
        if not found:
            continue
        view = TRANSFORMS.build(dict(type='CenterView', size=160, resize=160))
        queries = next(iter(found.values())).arrays['queries'][:ROWS].tolist()
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


def _how(content: Content) -> Section:
    facts = content.facts
    pairs = [
        (opened.data.name,
         f'{opened.test.describe()} measure, {opened.train.describe()} train; {opened.data.root}')
        for opened in content.opened
    ]  # fmt: skip
    per_class = [o.data.name for o in content.opened if o.data.accuracy != 'mean']
    if per_class:
        pairs.append(('mean over classes', f'accuracies on {", ".join(per_class)}'))
    versions = ', '.join(f'{name} {value}' for name, value in facts['versions'].items())
    machine = facts['machine']
    pairs += [
        ('machine', f'{machine["processor"]}, {machine["cores"]} cores; {versions}'),
        ('intervals', '95 %: over images by 1000 resamples of the test images (percentiles, paired '
                      "between models), over seeds by Student's and Welch's t"),
        ('limits', 'differences are not corrected for their number: of twenty pairs that are alike '
                   'one is shown on average'),
    ]  # fmt: skip
    why = [
        f'{label} on {data}: no {MEASURES[name].title}: {cell.content["why"]}'
        for (label, data), cells in content.cells.items()
        for name, cell in cells.items()
        if name in MEASURES and cell.content['why']
    ]
    body = html_page.facts(pairs)
    body += html_page.code('\n'.join(facts['encoders']), 'Images that each encoder takes')
    if why:
        body += html_page.items(why, f'{len(why)} figures that could not be measured')
    body += html_page.code(facts['command'])
    return Section('How this was measured', body)
