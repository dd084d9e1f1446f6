"""Splits without class folders whose classes stand in a file beside: Tiny-ImageNet, ImageNet."""

import re
from pathlib import Path

from ...core import UserError
from ..notices import say_once, some
from .base import PLAIN, numbered
from .lists import label_number, lines_of

FIRST = 100  # rows of a file by which it is known whether it is one of this folder


def annotation_files(folder: Path, split: str) -> list[Path]:
    """Return where the classes of a flat split may stand: in the folder, or above it.

    They are Tiny-ImageNet's ``val/val_annotations.txt``, Caffe's ``val.txt`` and Kaggle's
    ``LOC_val_solution.csv``, which lies four folders above.
    """
    name = Path(split).name or folder.name
    near = [f'{name}_annotations.txt', f'{name}.txt', f'{name}_labels.txt', f'{name}.csv']
    files = [place / file for place in (folder, folder.parent) for file in near]
    files += [place / f'LOC_{name}_solution.csv' for place in list(folder.parents)[:4]]
    return [file for file in files if file.is_file()]


def is_flat(keys: list[str]) -> bool:
    """Whether images lie in no class folders: at the top, or in one folder ``images``."""
    return not any('/' in key.removeprefix(f'{PLAIN}/') for key in keys)


def _rows(path: Path) -> dict[str, str]:
    """Return image -> class of a file: the first two fields of its lines.

    Names count without folders and endings, as Kaggle's do. Raises ValueError where it is no text.
    """
    rows = {}
    for _, line in lines_of(path.read_bytes()):
        fields = re.split(r'[ \t,;]+', line)
        if len(fields) > 1:
            rows[Path(fields[0]).stem] = fields[1]
    return rows


def annotated(
    folder: Path, split: str, keys: list[str]
) -> tuple[tuple[str, ...], list[int]] | None:
    """Return class names and labels of a flat split from the file beside that has its images.

    Words are class names, sorted, and whole numbers are labels. Returns None where no file names
    one of the first images. Raises UserError when a file lacks others.
    """
    stems = [Path(key).stem for key in keys]
    for path in annotation_files(folder, split):
        try:
            rows = _rows(path)
        except (OSError, ValueError):
            continue
        if not any(stem in rows for stem in stems[:FIRST]):
            continue
        if lost := [key for key, stem in zip(keys, stems, strict=True) if stem not in rows]:
            raise UserError(
                f'{path}: has no class for {len(lost)} of {len(keys)} images of {folder}: '
                f'{some(lost)}; add them, or remove the file to use images without labels',
                key='file',
                value=str(path),
            )
        say_once(f'{folder}: the classes of the images are those of {path}')
        return _numbers(path, [rows[stem] for stem in stems])
    return None


def _numbers(path: Path, words: list[str]) -> tuple[tuple[str, ...], list[int]]:
    if not any(re.fullmatch(r'-?\d+', word) for word in words):
        names = tuple(sorted(set(words)))
        place = {name: i for i, name in enumerate(names)}
        return names, [place[word] for word in words]
    try:
        labels = [label_number(word) for word in words]
    except ValueError as error:
        raise UserError(f'{path}: {error}', key='file', value=str(path)) from None
    return numbered(labels), labels
