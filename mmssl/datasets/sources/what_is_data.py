"""Names of files that are images: those that are neither hidden nor of an operating system."""

import os
from collections.abc import Iterable, Sequence

from ..notices import say_once, some

EXTENSIONS = {'.jpg', '.jpeg', '.png', '.bmp', '.ppm', '.pgm', '.tif', '.tiff', '.webp', '.gif'}
# folders and files that systems add by themselves, beside those whose names begin with a dot
SYSTEM = {
    '__macosx',
    '@eadir',
    '#recycle',
    '#snapshot',
    '$recycle.bin',
    'system volume information',
    'lost+found',
    'thumbs.db',
    'ehthumbs.db',
    'desktop.ini',
}


def is_system(path: str) -> bool:
    """Whether a relative path is hidden or a system's, or lies in a folder that is.

    Of an absolute path only the file's name counts: a data set may lie in a hidden folder.
    """
    parts = path.split('/')
    return any(
        (part.startswith('.') and part not in ('.', '..')) or part.lower() in SYSTEM
        for part in (parts[-1:] if path.startswith('/') else parts)
    )


def is_image(path: str) -> bool:
    """Whether a name has the extension of an image."""
    return os.path.splitext(path)[1].lower() in EXTENSIONS


def is_data(path: str) -> bool:
    """Whether a relative path is that of an image of a data set."""
    return is_image(path) and not is_system(path)


def data_places(paths: Sequence[str], storage: object) -> list[int]:
    """Return the places of the paths that are no system files; say which others there are."""
    kept = [i for i, path in enumerate(paths) if not is_system(path)]
    if len(kept) < len(paths):
        say_left_out(storage, (path for path in paths if is_system(path)))
    return kept


def say_left_out(storage: object, names: Iterable[str]) -> None:
    """Say once that a storage has hidden files or those of a system."""
    if found := sorted(names):
        say_once(f'{storage}: hidden and system files are no data: {some(found)} left out')
