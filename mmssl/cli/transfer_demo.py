"""Train a detector and a segmentor over the quickstart's checkpoint, on the embedded shapes."""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from ..core import UserError
from ..datasets.transforms.load_image import LoadImage
from ..reports.html_page import Section, figure, page, png_bytes, tiles
from .subprocess_tools import REPO, call_tool, json_or_run

SMALL = REPO / 'configs' / 'transfer' / 'small'
DATA = Path('data/shapes')
QUICKSTART = Path('work_dirs/quickstart')
EPOCHS = 32  # of the quickstart
DRAWN = 8  # images on the sheet
# name -> (config, the metrics shown: what they are called, their factor to percent)
RUNS = {
    'detector': (
        'mask-rcnn_vit-conv_simple-fpn_16e_shapes',
        {'coco/bbox_mAP': ('box AP', 100), 'coco/segm_mAP': ('mask AP', 100)},
    ),
    'segmentor': ('fpn_vit-conv_300i_shapes', {'mIoU': ('mIoU', 1)}),
}


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--pretrained', help="another file, or 'random'; default: the quickstart's")
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/transfer_demo'))
    parser.add_argument('--cfg-options', nargs='+', default=[], help='for both trainings')
    return parser.parse_args(argv)


def backbone(args: argparse.Namespace) -> str:
    """Return the converted file of the quickstart's network, which is trained if need be."""
    if args.pretrained:
        return str(args.pretrained)
    source, out = QUICKSTART / f'epoch_{EPOCHS}.pth', args.work_dir / 'backbone.pth'
    if not source.is_file():
        call_tool('quickstart')
    call_tool('model_converters/selfsup2mmdet', source, out)
    return str(out)


def run(name: str, pretrained: str, args: argparse.Namespace) -> dict[str, float]:
    """Train, test and draw one model, unless its metrics exist; return them in percent."""
    config, shown = RUNS[name]
    path, folder = os.path.relpath(SMALL / f'{config}.py'), args.work_dir / name
    out = folder / 'metrics.json'

    def train_and_test() -> None:
        options = ['--cfg-options', f'pretrained={pretrained}', *args.cfg_options]
        # a killed training left no optimizer to go on with
        call_tool('train', path, '--work-dir', folder, '--overwrite', '--no-validate', *options)
        last = Path((folder / 'last_checkpoint').read_text().strip())
        where = ['--work-dir', folder / 'test', '--out', out, '--out-item', 'metrics']
        call_tool('test', path, last, *where, '--show-dir', folder / 'pictures')

    metrics = json_or_run(out, train_and_test)
    return {label: factor * metrics[key] for key, (label, factor) in shown.items()}


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
    """Convert, train, evaluate and draw; write one page. Raises UserError without drawings."""
    args = parse(argv)
    args.work_dir.mkdir(parents=True, exist_ok=True)
    pretrained = backbone(args)
    none, scenes = ['--train-per-class', '0', '--val-per-class', '0'], ['--scenes', '256']
    call_tool('dataset_tools/make_shapes', DATA, *none, *scenes, '--val-scenes', '48', '--quiet')
    found: dict[str, float] = {}
    sections = []
    for name, (config, _) in RUNS.items():
        found |= run(name, pretrained, args)
        sheet = sheet_of(args.work_dir / name / 'pictures')
        sheet.save(args.work_dir / f'{name}.png')
        caption = f'{config}: left of each pair the truth, right what was predicted.'
        shown = figure(png_bytes(sheet), caption, f'truth and predictions of the {name}')
        sections.append(Section(name.capitalize(), shown))
    scores = [(f'{value:.1f}', label) for label, value in found.items()]
    lead = f'Trained over {pretrained} on 256 scenes of textured shapes, measured on 48 others.'
    whole = page('Transfer to mmdet and mmseg', 'transfer-demo', lead, tiles(scores), sections)
    out = args.work_dir / 'transfer.html'
    out.write_text(whole, encoding='utf-8')
    scores_text = ', '.join(f'{label} {value}' for value, label in scores)
    files = ', '.join(str(args.work_dir / f'{name}.png') for name in RUNS)
    print(f'transfer-demo: {scores_text}, figures: {out} ({files})')
