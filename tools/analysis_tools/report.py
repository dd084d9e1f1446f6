"""Write a work dir's report: one self-contained HTML file."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config

from mmssl.analysis import gallery, report
from mmssl.analysis.history import read_record
from mmssl.apis import cli, load_config
from mmssl.checkpoint import load
from mmssl.core import UserError
from mmssl.core.errors import NoData
from mmssl.engine import EpochLoop  # noqa: F401  (registers what configs name)
from mmssl.registry import DATASETS, MODELS


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('work_dir', type=Path, help='folder of a finished or running training')
    parser.add_argument('--config', help='default: what the newest training wrote')
    parser.add_argument('--checkpoint', help='default: the newest .pth in the work dir')
    parser.add_argument('--out', type=Path, help='default: report.html in the work dir')
    return parser.parse_args(argv)


def config_of(work_dir: Path) -> Path | None:
    """Return the config of the newest training; the file beside may be a later test's."""
    starts = sorted(work_dir.glob('*/vis_data/scalars.json'))
    found = [start.with_name('config.py') for start in starts]
    return next((file for file in reversed(found) if file.is_file()), None)


def newest(work_dir: Path) -> str | None:
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
    views = next((t['views'] for t in dataset['pipeline'] if 'views' in t), [{}])
    view = dict(type='CenterView', size=views[0].get('size', 224))
    both = DATASETS.build({**dataset, 'pipeline': [dict(type='LoadImage'), view]})
    return both, both


def pictures(cfg: Config, checkpoint: str | None) -> gallery.Gallery | str:
    """Return the pictures, or the sentence that says why there are none."""
    if checkpoint is None:
        return 'No pictures: the work dir holds no checkpoint yet.'
    try:
        bank, queries = image_sets(cfg)
    except UserError as error:
        return f'No pictures: {error}.'
    model = MODELS.build(cfg.model)
    load(model, checkpoint, verbose=False)
    model.to('cuda' if torch.cuda.is_available() else 'cpu')
    return gallery.look(model, bank, queries)


def main(argv: Sequence[str] | None = None) -> Path:
    """Write the report and return its path."""
    args = parse(argv)
    if not args.work_dir.is_dir():
        raise UserError(f'{args.work_dir}: no such work dir')
    path = args.config or config_of(args.work_dir)
    if path is None:
        raise UserError(f'{args.work_dir}: no training in it; is it a work dir of ours?')
    # a module that the config imports lies beside the file it came from
    came_from = read_record(args.work_dir).get('config') or path
    cfg = load_config(path, beside=Path(came_from))
    out = args.out or args.work_dir / 'report.html'
    found = pictures(cfg, args.checkpoint or newest(args.work_dir))
    out.write_text(report.build(args.work_dir, cfg, found), encoding='utf-8')
    print(f'report: {out}')
    return out


if __name__ == '__main__':
    cli.run(main)
