"""Measure encoders on data sets, and write one page that says which is better, and how surely.

    mmssl evaluate MODEL [MODEL ...] --data NAME=DIR [NAME=DIR ...] --suite small

MODEL is what pretrained= takes (a file, a name of ours, timm:NAME, torchvision:NAME, hf-hub:...),
'random', 'pixels', NETWORK@FILE for files that do not tell their network, or NAME@FILE,FILE,FILE:
several seeds of one recipe. DIR holds class folders, images with label maps (CamVid's, VOC's and
ADE20K's layouts, lists in COCO's format), or images alone.

small   kNN, linear, few labels, retrieval; segmentation; correspondence: at most 1000 images each
full    the same on all images
dense   segmentation and correspondence alone

What is finished is kept: the same command goes on, and another model or data set is added. With
--results the figures of other runs (result.json) stand beside, and what makes two of them
incomparable is said.
"""

import argparse
import json
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from ..core import UserError
from ..core.errors import at_least
from ..core.io import atomic_write
from ..encoder_report import encoder_page as pages
from ..encoder_report.cells import Cell, Store, folder_name
from ..encoder_report.cost import cost, key_of
from ..encoder_report.data import DataSet, OpenedData, label_maps, read_names
from ..encoder_report.encoders import LoadedEncoder, backbone_settings, load_encoder
from ..encoder_report.examples import Content
from ..encoder_report.figures import Figure, Place, figure_of, verdicts
from ..encoder_report.measures import Session, measure
from ..encoder_report.models import Model, read_models
from ..encoder_report.suites import MEASURES, SUITES, suite_of
from ..encoder_report.table_files import csv_of, json_of
from ..engine.hooks.run_info_hook import command_line, machine, versions
from ..reports import html_page
from ..results import comparable
from .options import option_words
from .own_images import read_folder
from .subprocess_tools import call_tool


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line. Raises UserError for an unknown suite and numbers too small."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument('models', nargs='*', metavar='MODEL', help='encoders, as above')
    parser.add_argument('--data', nargs='+', action='extend', default=[], metavar='NAME=DIR')
    parser.add_argument('--suite', default='small', help=', '.join(SUITES))
    parser.add_argument('--images', type=int, help='at most so many of each part; 0: all of them')
    parser.add_argument(
        '--finetune', type=int, metavar='EPOCHS', help='train the whole network too'
    )
    parser.add_argument('--results', nargs='+', type=Path, default=[], metavar='FILE')
    parser.add_argument('--out', type=Path, default=Path('work_dirs/evaluate'))
    parser.add_argument('--cache', type=Path, help='folder of features; default: OUT/features')
    parser.add_argument('--workers', type=int, default=min(os.cpu_count() or 1, 8))
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    args = parser.parse_args(argv)
    suite_of(args.suite)
    at_least('--workers', args.workers, smallest=0)
    if args.images is not None:
        at_least('--images', args.images, smallest=0)
    if args.finetune is not None:
        at_least('--finetune', args.finetune)
    if not args.results or args.models:
        for option, given in (('MODEL', args.models), ('--data', args.data)):
            if not given:
                raise UserError(f'{option}: give at least one', key=option, value=None)
    return args


def data_set(name: str, root: Path) -> DataSet:
    """Return the data set in a folder: label maps, class folders, or images alone.

    Raises UserError for a folder of no such layout.
    """
    maps = label_maps(name, root)
    if maps is not None:
        return maps
    folder = read_folder(root)
    kind = 'classes' if folder.classes else 'images'
    return DataSet(name, root, *folder.parts, kind, folder.classes)


def finetuner(args: argparse.Namespace) -> Any:
    """Return what fine-tunes an encoder on a data set and gives its answers by path, if asked."""
    if args.finetune is None:
        return None

    def run(encoder: LoadedEncoder, opened: OpenedData) -> dict[str, int]:
        folder = args.out / 'finetune' / folder_name(encoder.run.label) / opened.data.name
        size = str(encoder.preparation.size)
        settings = backbone_settings(encoder.run)
        settings.pop('init_cfg', None)
        call_tool(
            *('finetune', str(opened.data.root), '--pretrained', encoder.run.source),
            *('--work-dir', str(folder), '--epochs', str(args.finetune), '--img-size', size),
            *option_words({'model.backbone': settings}),
        )
        answers = json.loads((folder / 'predictions.json').read_text())
        return {answer['path']: answer['pred_label'] for answer in answers}

    return run


Cells = dict[tuple[str, str], dict[str, Cell]]


def measure_all(
    args: argparse.Namespace, models: list[Model], opened: list[OpenedData]
) -> tuple[Cells, dict[str, dict[str, Any]], list[str]]:
    """Measure every run on every data set.

    Returns the cells by (run, data set), the costs by model, and a line on the images of each run.
    """
    store = Store(args.out / 'cells')
    session = Session(
        suite_of(args.suite),
        store,
        args.cache or args.out / 'features',
        args.workers,
        finetune=finetuner(args),
        finetune_settings=dict(epochs=args.finetune),
    )
    cells: Cells = {}
    costs: dict[str, dict[str, Any]] = {}
    prepared = []
    for model in models:
        for run in model.runs:
            encoder = load_encoder(run, args.device)
            prepared.append(encoder.describe())
            print(prepared[-1], flush=True)
            for each in opened:
                cells[run.label, each.data.name] = measure(encoder, each, session)
            if run.seed == 0:
                place = (run.label, '-', 'cost')
                made, _ = store.cell(place, key_of(encoder), partial(cost, encoder), dict)
                costs[model.name] = made.content['settings']
    return cells, costs, prepared


def table_of(models: list[Model], cells: Cells) -> dict[str, dict[Place, Figure]]:
    """Return the figures of each model by data set and measure, over its seeds."""
    table: dict[str, dict[Place, Figure]] = {}
    for model in models:
        table[model.name] = {}
        names = [data for label, data in cells if label == model.runs[0].label]
        for data in names:
            for name in MEASURES:
                of_runs = [cells[run.label, data].get(name) for run in model.runs]
                figure = figure_of([cell for cell in of_runs if cell is not None])
                if figure is not None:
                    table[model.name][data, name] = figure
    return table


def compare_results(paths: list[Path]) -> html_page.Section:
    """Return results of other runs side by side, and print which cannot be compared, and why."""
    results = [comparable.read_result(path) for path in paths]
    names = [str(path) for path in paths]
    lines = comparable.verdicts_of(names, results)
    rows = comparable.rows_of(results)
    for row in rows[:3]:
        print('  '.join(row))
    for line in lines:
        print(line)
    body = html_page.table(['', *names], rows) + html_page.items(lines)
    return html_page.Section('Results of other runs', body)


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure what is missing, write page, JSON and CSV, and return what the JSON holds.

    Raises UserError for models, folders and results that cannot be read.
    """
    args = parse(argv)
    extra = [compare_results(args.results)] if args.results else []
    if not args.models:
        text = html_page.page('Results side by side', 'mmssl evaluate', '', '', extra)
        atomic_write(args.out / 'index.html', text)
        print(f'evaluate: {args.out / "index.html"}')
        return {}
    models = read_models(args.models)
    suite = suite_of(args.suite)
    sets = [data_set(name, root) for name, root in read_names(args.data).items()]
    limit = None if args.images == 0 else args.images
    opened = [each.open(suite.most(each.kind) if args.images is None else limit) for each in sets]
    for each in opened:
        what = f'{len(each.train):,} training images, {len(each.test):,} to measure with'
        print(f'{each.data.name}: {what}', flush=True)
    cells, costs, prepared = measure_all(args, models, opened)
    table = table_of(models, cells)
    said = verdicts(models, table)
    facts = dict(
        suite=args.suite,
        command=command_line(),
        data={each.data.name: each.fingerprints for each in opened},
        encoders=prepared,
        versions=versions(),
        machine=machine(),
    )
    content = json_of(table, said, costs, facts)
    atomic_write(args.out / 'evaluate.json', json.dumps(content, indent=1) + '\n')
    atomic_write(args.out / 'evaluate.csv', csv_of(table))
    html = pages.build(Content(models, opened, cells, table, said, costs, facts), extra)
    atomic_write(args.out / 'index.html', html)
    for verdict in pages.leading(pages.ranked(models, table), said):
        print(f'{MEASURES[verdict.measure].title}: {verdict.sentence}')
    print(f'evaluate: {args.out / "index.html"}, evaluate.json, evaluate.csv')
    return content
