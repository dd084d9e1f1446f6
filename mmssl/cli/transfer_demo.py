"""Train a detector and a segmentor over the quickstart's checkpoint, on the embedded shapes.

Their logs are WORK_DIR/*.log. What is finished for the same start and settings is kept.
"""

import argparse
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from ..core import UserError
from ..datasets.transforms.load_image import LoadImage
from ..reports.html_page import Section, figure, page, png_bytes, tiles
from ..transfer.class_checks import listed_images
from ..transfer.settings import read_transfer_config
from .logged_tools import Job, run_logged
from .options import OptionAction, option_words
from .subprocess_tools import REPO, prepare_folder, stored_json

SMALL = REPO / 'configs' / 'transfer' / 'small'
DATA = Path('data/shapes')
QUICKSTART = Path('work_dirs/quickstart')
EPOCHS = 32  # of the quickstart
DRAWN = 8  # images on the sheet
# name -> (config, the metrics shown: what they are called, their factor to percent)
RUNS = {
    'detector': (
        'mask-rcnn_vit-conv_simple-fpn_10e_shapes',
        {'coco/bbox_mAP': ('box AP', 100), 'coco/segm_mAP': ('mask AP', 100)},
    ),
    'segmentor': ('fpn_vit-conv_300i_shapes', {'mIoU': ('mIoU', 1)}),
}


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--pretrained', help="another file, or 'random'; default: the quickstart's")
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/transfer_demo'))
    parser.add_argument(
        '--cfg-options', nargs='+', action=OptionAction, default={}, help='for both trainings'
    )
    return parser.parse_args(argv)


def backbone(args: argparse.Namespace) -> str:
    """Return the file to start from: the quickstart's, which is trained if need be."""
    if args.pretrained:
        return str(args.pretrained)
    source = QUICKSTART / f'epoch_{EPOCHS}.pth'
    if not source.is_file():
        run_logged(Job('pretraining', args.work_dir / 'pretraining.log', [('quickstart', ())]))
    return str(source)


def identity(start: str) -> str:
    """Return what tells a start from others: the hash of a file, the name of anything else."""
    file = Path(start)
    return hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else start


def config_of(name: str) -> Path:
    """Return the config of a model."""
    return SMALL / f'{RUNS[name][0]}.py'


def job(name: str, start: str, args: argparse.Namespace) -> Job | None:
    """Return the training and test of one model, None where their metrics are there.

    A folder of another start, other options or another config is moved aside.
    """
    folder = args.work_dir / name
    out = folder / 'metrics.json'
    path = os.path.relpath(config_of(name))
    options = {'pretrained': start, **args.cfg_options}
    cfg = read_transfer_config(str(config_of(name)), dict(args.cfg_options))
    prepare_folder(folder, f'{identity(start)} {args.cfg_options} {cfg.pretty_text}')
    if out.is_file():
        return None
    words = option_words(options)
    train = [path, '--work-dir', folder, '--overwrite', '--no-validate', *words]
    test = [path, folder / last_file(cfg), '--work-dir', folder / 'test', '--out', out]
    test += ['--out-item', 'metrics', '--show-dir', folder / 'pictures']
    test += option_words(args.cfg_options)
    return Job(name, args.work_dir / f'{name}.log', [('train', train), ('test', test)])


def last_file(cfg: Any) -> str:
    """Return the name of the last checkpoint that a training writes."""
    epochs = cfg.train_cfg.get('max_epochs')
    return f'epoch_{epochs}.pth' if epochs else f'iter_{cfg.train_cfg.max_iters}.pth'


def scores(name: str, args: argparse.Namespace) -> dict[str, float]:
    """Return the metrics of one model in percent. Raises UserError where they are missing."""
    file = args.work_dir / name / 'metrics.json'
    metrics = stored_json(file)
    if metrics is None:
        raise UserError(
            f'{file}: was not written; {args.work_dir / name}.log says why',
            key='file',
            value=str(file),
        )
    return {label: factor * metrics[key] for key, (label, factor) in RUNS[name][1].items()}


def scenes(options: dict[str, Any]) -> tuple[int, int]:
    """Return how many images train the detector, and measure it."""
    cfg = read_transfer_config(str(config_of('detector')), dict(options))
    loaders = (cfg.train_dataloader, cfg.test_dataloader)
    train, test = (listed_images(loader.dataset) for loader in loaders)
    return train, test


def sheet_of(folder: Path) -> Image.Image:
    """Lay out some of a folder's images, each truth beside prediction, in two columns.

    Raises UserError for a folder without images.
    """
    files = sorted(folder.rglob('*.png'))[:DRAWN]
    if not files:
        raise UserError(
            f'{folder}: no images were drawn; remove its metrics.json and try again',
            key='folder',
            value=str(folder),
        )
    images = [LoadImage().from_file(file).pil for file in files]
    width, height = images[0].size
    sheet = Image.new('RGB', (4 * width + 24, (len(images) + 1) // 2 * (2 * height + 24)), 'white')
    for i, image in enumerate(images):
        at = (i % 2 * (2 * width + 24), i // 2 * (2 * height + 24))
        sheet.paste(image.resize((2 * width, 2 * height), Image.Resampling.LANCZOS), at)
    return sheet


def main(argv: Sequence[str] | None = None) -> None:
    """Train, evaluate and draw both models at once; write one page.

    Raises UserError where a step fails.
    """
    args = parse(argv)
    args.work_dir.mkdir(parents=True, exist_ok=True)
    shapes = [str(DATA), '--train-per-class', '0', '--val-per-class', '0', '--scenes', '256']
    shapes += ['--val-scenes', '48', '--quiet']
    start = backbone(args)
    run_logged(Job('scenes', args.work_dir / 'scenes.log', [('dataset_tools/make_shapes', shapes)]))
    jobs = [job(name, start, args) for name in RUNS]
    run_logged(*(each for each in jobs if each is not None))
    found: dict[str, float] = {}
    sections = []
    for name, (config, _) in RUNS.items():
        found |= scores(name, args)
        sheet = sheet_of(args.work_dir / name / 'pictures')
        sheet.save(args.work_dir / f'{name}.png')
        caption = f'{config}: left of each pair the truth, right what was predicted.'
        shown = figure(png_bytes(sheet), caption, f'truth and predictions of the {name}')
        sections.append(Section(name.capitalize(), shown))
    scored = [(f'{value:.1f}', label) for label, value in found.items()]
    train, test = scenes(args.cfg_options)
    over = 'from random weights' if start == 'random' else f'over {start}'
    lead = f'Trained {over} on {train} scenes of textured shapes, measured on {test} others.'
    whole = page('Transfer to mmdet and mmseg', 'transfer-demo', lead, tiles(scored), sections)
    out = args.work_dir / 'transfer.html'
    out.write_text(whole, encoding='utf-8')
    scores_text = ', '.join(f'{label} {value}' for value, label in scored)
    files = ', '.join(str(args.work_dir / f'{name}.png') for name in RUNS)
    print(f'transfer-demo: {scores_text}, figures: {out} ({files})')
