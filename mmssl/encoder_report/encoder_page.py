"""The page of `mmssl evaluate`: verdicts, tables, curves, costs, and images of two models."""

from collections.abc import Iterator, Mapping, Sequence
from statistics import mean

from ..datasets import ImageDataset
from ..reports import html_page
from ..reports.html_page import Noted, Section
from . import examples
from .data import OpenedData
from .drawings import (
    bars,
    few_label_curves,
)
from .examples import Content
from .figures import Figure, Place, Verdict
from .models import Model
from .suites import MEASURES

MAIN = (
    *('knn', 'linear', 'retrieval', 'knn_segmentation', 'linear_segmentation', 'correspondence'),
    'finetune',
)


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
        *examples.winners(content, order),
        *examples.neighbours(content, order),
        *examples.attention(content, order),
        *extra,
        _how(content),
    ]
    lead = (
        f'{", ".join(order)} on {", ".join(names)}. Below a figure its 95 % interval: what other '
        'test images would give; below that, where there are seeds, what other trainings would.'
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
        low, high = (min(max(end, 0.0), 100.0) for end in figure.over_seeds)
        note += f'\n{len(figure.seeds)} seeds: {low:.1f} to {high:.1f}'
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


def _described(opened: OpenedData, images: ImageDataset) -> str:
    if opened.data.kind == 'label maps':
        return f'{len(images)} images with label maps of {opened.classes} classes'
    return images.describe()


def _how(content: Content) -> Section:
    facts = content.facts
    pairs = [
        (opened.data.name,
         f'{_described(opened, opened.test)} measure, {_described(opened, opened.train)} train; '
         f'{opened.data.root}')
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
