"""Build the HTML report of a training run: results, curves, health, schedules, provenance."""

from pathlib import Path
from typing import Any

from ..evaluation.knn_loop import TEMPERATURE
from . import html_page
from .figures import curve
from .history import History, Points, read_history, read_record, read_results

ROWS = {
    'pixels': 'raw pixels',
    'random': 'untrained network',
    'start': 'encoder at the start',
    'pretrained': 'pretrained network',
}
ACCURACY = {'knn/top1': 'kNN top-1', 'accuracy/top1': 'Top-1'}
# name of a scalar -> title, upper end of its axis, what it means
HEALTH: dict[str, tuple[str, float, float | None, str]] = {
    'embedding_std': (
        'Standard deviation of embeddings',
        0.0,
        1.1,
        'Standard deviation of the embeddings: 1 when they use all directions evenly, 0 when '
        'all images look the same to the network.',
    ),
    'rankme': (
        'RankMe',
        0.0,
        None,
        'How many directions the embeddings of a batch use. Low and falling means collapse.',
    ),
    'health/rankme': (
        'RankMe of features',
        0.0,
        None,
        'How many directions the features of held-out images use, before the projector.',
    ),
    'teacher_cosine': (
        'Agreement',
        -1.05,
        1.05,
        'Mean cosine of student and teacher on two views of an image. It should rise while the '
        'standard deviation stays up.',
    ),
}
Results = dict[str, dict[str, float]]


def results_by_network(work_dir: Path, history: History, pretrained: bool) -> Results:
    """Metrics by row of `ROWS`: those of results/, else the monitor's first and last."""
    found = read_results(work_dir)
    if found or not history.val:
        return found
    names = [name for name in history.val if '/' in name and name not in HEALTH]
    if not names:
        return found
    last = {name: history.val[name][-1][1] for name in names}
    first = {name: history.val[name][0] for name in names}
    if all(at == 0 for at, _ in first.values()):
        row = 'start' if pretrained else 'random'
        found[row] = {name: value for name, (_, value) in first.items()}
    return {**found, 'pretrained': last}


def _heading(name: str) -> str:
    """Turn knn/top1_k20 into top-1, k = 20."""
    return name.rpartition('/')[2].replace('top', 'top-').replace('_k', ', k = ')


def _results(results: Results, cfg: Any) -> str:
    if not results:
        return html_page.missing(
            'No accuracy: the images have no labels, or the run had no monitor (val_cfg).'
        )
    names = [name for name in next(iter(results.values())) if name != 'knn/top1']
    shown = {name: _heading(name) for name in names}
    order = [*[row for row in ROWS if row in results], *[r for r in results if r not in ROWS]]
    rows = [
        [ROWS.get(row, row), *(f'{results[row].get(n, float("nan")):.1f} %' for n in names)]
        for row in order
    ]
    best = order.index('pretrained') if 'pretrained' in order and len(order) > 1 else None
    body = html_page.table(['', *shown.values()], rows, best)
    if any(name.startswith('knn/') for name in names):
        settings = cfg.get('val_cfg') or cfg.get('test_cfg') or {}
        t = settings.get('temperature', TEMPERATURE)
        body += html_page.text(
            'Each validation image is classified by the vote of its k nearest training images, '
            f'weighted by exp(cosine / T) with T = {t:g}. The network is frozen and no label was '
            'used in training.',
            'soft',
        )
    return body


def _learning(history: History, results: Results) -> str:
    parts = []
    if 'loss' in history.train:
        uniform = history.train.get('uniform', [])[-1:]
        caption = 'The loss, smoothed over a few iterations.'
        if uniform:
            caption += f' Dashed: {uniform[0][1]:.3f}, the loss of a uniform prediction.'
        levels = [('uniform', value) for _, value in uniform]
        image = curve(history.train['loss'], 'Loss', levels)
        parts.append(html_page.figure(image, caption, 'loss against epoch'))
    measured = [name for name in ACCURACY if name in history.val]
    for name in measured:
        points, pixels = history.val[name], results.get('pixels', {}).get(name)
        caption = f'Measured {len(points)} times while training, at last {points[-1][1]:.1f} %.'
        levels = [] if pixels is None else [('raw pixels', pixels)]
        image = curve(points, f'{ACCURACY[name]} (%)', levels, (0, None), marks=True)
        parts.append(html_page.figure(image, caption, f'{ACCURACY[name]} against epoch'))
    body = html_page.figures(parts)
    return (
        body if measured else body + html_page.missing('No accuracy was measured while training.')
    )


def _health(history: History) -> str:
    measured = history.val | history.train
    parts = [
        html_page.figure(
            curve(measured[name], title, limits=(low, top), size=(3.3, 2.4)),
            caption,
            f'{title} against epoch',
        )
        for name, (title, low, top, caption) in HEALTH.items()
        if name in measured
    ]
    return html_page.figures(parts) or html_page.missing('This method reports no health numbers.')


def _schedules(history: History) -> str:
    names = {'lr': 'Learning rate', 'momentum': 'Momentum of the teacher'}
    parts = [
        html_page.figure(curve(history.train[n], t), _span(history.train[n]), f'{t} against epoch')
        for n, t in names.items()
        if n in history.train
    ]
    return html_page.figures(parts) or html_page.missing('No schedule was logged.')


def _span(points: Points) -> str:
    values = [value for _, value in points]
    return f'At most {max(values):.4g}, at last {values[-1]:.4g}.'


def _provenance(record: dict[str, Any], cfg: Any) -> str:
    body = ''
    if record:
        machine = record['machine']
        gpus = ', '.join(machine['gpus']) or 'none'
        body += html_page.code('\n'.join(record['commands'])) + html_page.facts(
            [
                ('data', record['data']),
                ('time', duration(record['seconds'])),
                ('peak memory', f'{record["peak_memory"]} MB in the first process'),
                ('processor', f'{machine["processor"]}, {machine["cores"]} cores'),
                ('memory', f'{machine["memory"]:g} GB'),
                ('GPU', f'{gpus}; {machine["processes"]} process(es)'),
                ('system', machine['system']),
                ('versions', ', '.join(f'{k} {v}' for k, v in record['versions'].items())),
                ('seed', str(record['seed'])),
                ('started', record['started']),
            ]
        )
    else:
        body += html_page.missing('The work dir has no run.json: command and machine are unknown.')
    return body + html_page.code(cfg.pretty_text, 'The whole config')


def duration(seconds: float) -> str:
    """Return 4 min 32 s, or 2 h 5 min."""
    minutes, rest = divmod(round(seconds), 60)
    hours, left = divmod(minutes, 60)
    return f'{hours} h {left} min' if hours else f'{minutes} min {rest} s'


def _tiles(history: History, record: dict[str, Any], results: Results) -> list[tuple[str, str]]:
    tiles = []
    for name, label in ACCURACY.items():
        before = 'start' if 'start' in results else 'random'
        scores = [results[r][name] for r in (before, 'pretrained') if name in results.get(r, {})]
        if scores:
            first = 'encoder' if before == 'start' else 'untrained'
            what = f'{label}, {first} → pretrained' if len(scores) == 2 else f'{label} accuracy'
            tiles.append((' → '.join(f'{s:.1f}' for s in scores) + ' %', what))
    if 'loss' in history.train:
        tiles.append((f'{history.train["loss"][-1][1]:.3f}', 'loss at the end'))
    if record:
        tiles.append((duration(record['seconds']), 'time of training'))
        tiles.append((f'{record["peak_memory"]} MB', 'peak memory'))
    return tiles


def build(work_dir: Path, cfg: Any, similarity: str) -> str:
    """Return the report of a work dir as HTML.

    ``similarity`` is the HTML of the sheets of similar images (`analysis.similarity.html_section`).
    Raises UserError when nothing was logged.
    """
    history, record = read_history(work_dir), read_record(work_dir)
    init = cfg.model.backbone.get('init_cfg') or {}
    results = results_by_network(
        work_dir, history, bool(cfg.get('load_from') or init.get('checkpoint'))
    )
    lead = f'{cfg.model.backbone.type}'
    if teacher := cfg.model.get('teacher'):
        file = (teacher.get('init_cfg') or {}).get('checkpoint')
        lead += f', distilled from {teacher["type"]} ({file}),'
    if record:
        lead += (
            f' on {record["data"]}, {record["epoch"]} of {record["max_epochs"]} epochs in '
            f'{duration(record["seconds"])}.'
        )
    sections = [
        html_page.Section('Results', _results(results, cfg)),
        html_page.Section('Learning curves', _learning(history, results)),
        html_page.Section('Training health', _health(history)),
        html_page.Section('Similar images', similarity),
        html_page.Section('Schedules', _schedules(history)),
        html_page.Section('Provenance', _provenance(record, cfg)),
    ]
    top = html_page.tiles(_tiles(history, record, results))
    return html_page.page(f'{cfg.model.type}: {work_dir.name}', 'mmssl report', lead, top, sections)
