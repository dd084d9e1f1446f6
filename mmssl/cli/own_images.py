"""Folders of images: their structure, sizes and classes, and options of commands on them."""

import argparse
import random
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import torch

from ..core import UserError
from ..core.cores import own_cores
from ..core.errors import at_least
from ..datasets import ImageDataset
from ..datasets.class_numbers import follow_classes
from ..datasets.sources.base import UnreadableImage
from ..datasets.transforms.load_image import LoadImage
from ..evaluation.sanity_checks import advice_on_labels

MIN_IMAGES = 16  # that a contrastive batch should have
SAMPLED = 64  # images whose sizes are looked at
UNKNOWN_SIDE = 224  # pixels, where none of them can be read


class Folder(NamedTuple):
    """Images that train and that measure, their classes, their usual short side, and options.

    ``measured`` is 0 and ``classes`` is empty where there are no labels. ``parts`` holds arguments
    of `ImageDataset` for training and for measuring.
    """

    path: Path
    images: int
    measured: int
    classes: tuple[str, ...]
    side: int
    parts: tuple[dict[str, Any], dict[str, Any]]

    def describe(self) -> str:
        """Return one line on what was found."""
        labels = f'{len(self.classes)} classes' if self.classes else 'no classes'
        held = f', {self.measured:,} to measure with' if self.measured else ''
        found = f'{self.images:,} images to train on{held}'
        return f'{self.path}: {found}, {labels}, short sides of {self.side} px'


def read_folder(path: Path) -> Folder:
    """Detect the structure of a folder: train/ and val/ or test/, class folders, or images alone.

    Of class folders without such parts a fifth is kept to measure with. Raises UserError naming the
    folder and what to do.
    """
    if not path.is_dir():
        raise UserError(
            f'{path}: no such folder; give one with images in it', key='folder', value=str(path)
        )
    names = {name for name in ('train', 'val', 'test') if (path / name).is_dir()}
    split = 'train' if 'train' in names else ''
    held = next((name for name in ('val', 'test') if split and name in names), None)
    train: dict[str, Any] = dict(split=split)
    images = ImageDataset(str(path), **train)
    # one class says nothing, and classes of one or two images leave none to measure with
    labelled = len(images) >= 3 * len(images.classes) > 3
    measured = 0
    parts: tuple[dict[str, Any], dict[str, Any]]
    if labelled and held:
        parts = train, dict(split=held)
        measured = _labelled_images(path, held, images.classes)
    elif labelled:
        parts = dict(train, share=(0.0, 0.8)), dict(train, share=(0.8, 1.0))
        images, held_out = (ImageDataset(str(path), **part) for part in parts)
        measured = len(held_out)
    else:
        parts = dict(train, with_label=False), dict(train, with_label=False)
    if len(images) < MIN_IMAGES:
        raise UserError(
            f'{path}: {len(images)} images for training; at least {MIN_IMAGES} are needed',
            key='folder',
            value=str(path),
        )
    classes = tuple(images.classes) if labelled else ()
    return Folder(path, len(images), measured, classes, usual_side(images), parts)


def _labelled_images(path: Path, split: str, classes: tuple[str, ...]) -> int:
    """Return how many images measure. Raises UserError where their classes are not ``classes``."""
    held = ImageDataset(str(path), split)
    if not held.labels:
        raise UserError(
            f'{path}/{split}: no labels, unlike train/; {advice_on_labels(held)}',
            key='folder',
            value=str(path),
        )
    try:
        follow_classes(held, tuple(classes), f'{path}/{split}')
    except UserError as error:
        raise UserError(str(error), key='folder', value=str(path)) from None
    return len(held)


def usual_side(images: ImageDataset) -> int:
    """Return the median of the short sides, in pixels, of some images."""
    load, sides = LoadImage(), []
    for index in random.Random(0).sample(range(len(images)), min(SAMPLED, len(images))):
        try:
            image = load.open(images.read(index), images.name(index))
        except UnreadableImage:
            continue  # training says which
        sides.append(min(image.size))
    return round(median(sides)) if sides else UNKNOWN_SIDE


def require_classes(folder: Folder) -> None:
    """Check that a folder has classes. Raises UserError where it has none."""
    if not folder.classes:
        raise UserError(
            f'{folder.path}: a classifier needs class folders with at least three images each, and '
            f'two of them: {folder.path}/cats/*.jpg, {folder.path}/dogs/*.jpg',
            key='folder',
            value=str(folder.path),
        )


def device() -> str:
    """Return 'cuda' or 'cpu', what this machine trains on."""
    return 'cuda' if torch.cuda.is_available() else 'cpu'


def divided_cores() -> tuple[int, int]:
    """Return threads that compute and processes that read images; a GPU leaves all to the latter.

    A machine of one core reads in the process that trains.
    """
    cores = own_cores()
    threads = max(1, cores // 2)
    return threads, min(cores if device() == 'cuda' else cores - threads, 16)


def add_folder_options(parser: argparse.ArgumentParser, prefix: str, minutes: str) -> None:
    """Add the arguments that commands on a folder share."""
    parser.add_argument('folder', type=Path, help='images, in class folders or not')
    parser.add_argument('--work-dir', type=Path, help=f'default: work_dirs/{prefix}_FOLDER')
    parser.add_argument('--minutes', type=float, help=f'that the training takes; {minutes}')
    parser.add_argument('--epochs', type=int, help='in place of --minutes')
    parser.add_argument('--img-size', type=int, help='pixels of a side')
    parser.add_argument('--batch-size', type=int, help='images of a step')
    parser.add_argument('--seed', type=int, default=0)


def check_numbers(args: argparse.Namespace) -> None:
    """Check the numbers of `add_folder_options`. Raises UserError for one that is too small."""
    for name in ('epochs', 'img_size', 'batch_size'):
        value = getattr(args, name)
        if value is not None:
            at_least(f'--{name.replace("_", "-")}', value)
    if args.minutes is not None and not args.minutes > 0:
        raise UserError(f'--minutes {args.minutes:g}: above 0', key='--minutes', value=args.minutes)
