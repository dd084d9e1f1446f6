"""Size of images, evaluation, page and ONNX file of `mmssl probe` and `mmssl finetune`."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..apis.images import evaluation_size
from ..apis.model import is_training_file
from ..config.stored_settings import stored_config
from ..core.io import atomic_write
from ..evaluation.probe import interval
from ..reports import classifier_page
from ..reports.classifier_page import Answers
from .own_images import Folder, read_folder, require_classes
from .subprocess_tools import tool_status

TOP1 = ('probe/top1', 'accuracy/top1')


class Task(NamedTuple):
    """A folder with classes, where results go, and the size of images."""

    folder: Folder
    work_dir: Path
    size: int


def task_of(args: argparse.Namespace, name: str) -> Task:
    """Read the folder of a command line, and say what is in it.

    Raises UserError for a folder without classes.
    """
    folder = read_folder(args.folder)
    require_classes(folder)
    print(folder.describe())
    work_dir = args.work_dir or Path('work_dirs') / f'{name}_{args.folder.resolve().name}'
    return Task(folder, work_dir, args.img_size or image_size(args.pretrained))


def image_size(pretrained: str) -> int:
    """Return the size of the images that an encoder was measured with, 224 where none is told."""
    return evaluation_size(stored_config(pretrained) if is_training_file(pretrained) else {})


def folder_options(folder: Folder, size: int, train: str, test: str) -> dict[str, Any]:
    """Return the options that give two parts of a config, by their places, the folder's images."""
    options: dict[str, Any] = {'data_root': str(folder.path)}
    for place, part in zip((train, test), folder.parts, strict=True):
        options |= {f'{place}.{key}': value for key, value in part.items()}
    for name in ('size', 'resize'):
        options[f'test_dataloader.dataset.pipeline.1.{name}'] = size
    return options


def write_page(
    work_dir: Path, folder: Folder, what: str, metrics: dict[str, float], predictions: Any
) -> Path:
    """Write page and confusion matrix of a classifier, and return the page."""
    answers = Answers.of(predictions, folder.classes)
    top1 = top1_of(metrics)
    low, high = interval(top1, len(predictions))
    tiles = [
        (f'{top1:.1f} %', f'of {len(predictions):,} images (95 %: {low:.1f} to {high:.1f})'),
        (str(len(folder.classes)), 'classes'),
        (f'{folder.images:,}', 'training images'),
    ]
    lead = f'{what}, on {folder.path}.'
    atomic_write(work_dir / 'confusion.csv', classifier_page.csv_of(answers))
    page = work_dir / 'classifier.html'
    atomic_write(page, classifier_page.build('Classifier', lead, answers, tiles))
    return page


def top1_of(metrics: dict[str, float]) -> float:
    """Return the top-1 accuracy in percent of a probe's or a classifier's metrics."""
    return next(metrics[name] for name in TOP1 if name in metrics)


def write_onnx(file: Path, size: int) -> str:
    """Export a classifier beside its file; return the words that say so, or why there is none."""
    out = file.with_suffix('.onnx')
    status = tool_status(
        'model_converters/export', 'onnx', file, out, '--size', str(size), '--classifier'
    )
    return f', {out}' if status == 0 else ''


def finish(name: str, task: Task, pretrained: str, file: Path) -> float:
    """Write page and ONNX of a measured classifier, print where all is, and return its top-1."""
    folder, work_dir, size = task
    metrics = json.loads((work_dir / 'result.json').read_text())['metrics']
    predictions = json.loads((work_dir / 'predictions.json').read_text())
    what = {'probe': 'Linear layer over', 'finetune': 'Fine-tuned from'}[name]
    page = write_page(work_dir, folder, f'{what} {pretrained}', metrics, predictions)
    onnx = write_onnx(file, size)
    top1 = top1_of(metrics)
    low, high = interval(top1, len(predictions))
    print(
        f'{name}: top-1 {top1:.1f} % of {len(predictions):,} images (95 % interval {low:.1f} to '
        f'{high:.1f}), page {page}'
    )
    print(f'{name}: classifier {file}{onnx}')
    print(f'next: mmssl predict {file} IMAGE_OR_FOLDER')
    return top1


def words_of(work_dir: Path) -> Sequence[str]:
    """Return the options that put the predictions of a test into a work dir."""
    return '--work-dir', str(work_dir), '--out', str(work_dir / 'predictions.json')
