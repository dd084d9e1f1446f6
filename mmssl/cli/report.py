"""Write the HTML report of a work dir: one self-contained file."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config

from ..analysis.similarity import SimilaritySheets, html_section, similarity_sheets
from ..apis import load_config
from ..checkpoint import load
from ..core import UserError
from ..core.errors import NoData
from ..core.io import atomic_write
from ..engine import EpochLoop  # noqa: F401  (fills the registries)
from ..registry import DATASETS, MODELS
from ..reports import report
from ..reports.history import read_record


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('work_dir', type=Path, help='folder of a finished or running training')
    parser.add_argument('--config', help='default: what the newest training wrote')
    parser.add_argument('--checkpoint', help='default: the newest .pth in the work dir')
    parser.add_argument('--out', type=Path, help='default: report.html in the work dir')
    return parser.parse_args(argv)


def newest_config(work_dir: Path) -> Path | None:
    """Return the config of the newest training; the file beside may be a later test's."""
    starts = sorted(work_dir.glob('*/vis_data/scalars.json'))
    found = [start.with_name('config.py') for start in starts]
    return next((file for file in reversed(found) if file.is_file()), None)


def newest_checkpoint(work_dir: Path) -> str | None:
    """Return the newest checkpoint, or None."""
    files = sorted(work_dir.glob('*.pth'), key=lambda p: p.stat().st_mtime)
    return str(files[-1]) if files else None


def image_sets(cfg: Config) -> tuple[Any, Any]:
    """Return (bank, queries): the monitor's two data sets, else the training images twice.

    Training images then take the centre view of the size of the first random view.
    """
    for mode in ('val', 'test'):
        loader, loop = cfg.get(f'{mode}_dataloader'), cfg.get(f'{mode}_cfg')
        if loader is None or loop is None:
            continue
        stored = {**loader.dataset, **(loop.get('bank') or dict(split='train'))}
        try:
            return DATASETS.build(stored), DATASETS.build(loader.dataset)
        except NoData:
            continue
    dataset = dict(cfg.train_dataloader.dataset)
    views: list[Any] = next((t['views'] for t in dataset['pipeline'] if 'views' in t), [{}])
    view = dict(type='CenterView', size=views[0].get('size', 224))
    both = DATASETS.build({**dataset, 'pipeline': [dict(type='LoadImage'), view]})
    return both, both


def sheets_of(cfg: Config, checkpoint: str | None) -> SimilaritySheets | str:
    """Return the sheets of similar images, or the sentence that says why there are none."""
    if checkpoint is None:
        return 'No pictures: the work dir holds no checkpoint yet.'
    try:
        bank, queries = image_sets(cfg)
    except UserError as error:
        return f'No pictures: {error}.'
    model = MODELS.build(cfg.model)
    load(model, checkpoint, verbose=False)
    model.to('cuda' if torch.cuda.is_available() else 'cpu')
    return similarity_sheets(model, bank, queries)


def main(argv: Sequence[str] | None = None) -> Path:
    """Write the report and return its path. Raises UserError for what is no work dir."""
    args = parse(argv)
    if not args.work_dir.is_dir():
        raise UserError(
            f'{args.work_dir}: no such work dir', key='folder', value=str(args.work_dir)
        )
    path = args.config or newest_config(args.work_dir)
    if path is None:
        raise UserError(
            f'{args.work_dir}: no training in it; give the work dir of one, or --config',
            key='folder',
            value=str(args.work_dir),
        )
    # a module that the config imports lies beside the file it came from
    came_from = read_record(args.work_dir).get('config') or path
    cfg = load_config(path, beside=Path(came_from))
    out = args.out or args.work_dir / 'report.html'
    sheets = sheets_of(cfg, args.checkpoint or newest_checkpoint(args.work_dir))
    atomic_write(out, report.build(args.work_dir, cfg, html_section(sheets)))
    print(f'report: {out}')
    found: Path = out
    return found
