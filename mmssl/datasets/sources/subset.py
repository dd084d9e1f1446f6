"""Subset lists: the images of a folder to use, as SimCLR and SwAV publish for few labels."""

from collections import Counter
from pathlib import Path

from ...core import UserError
from ...core.errors import NoData
from .base import read_file
from .lists import lines_of
from .what_is_data import is_system

ADVICE = 'correct dataset.subset (docs/finetuning.md says where the published lists are)'


def chosen(path: Path, keys: list[str], folder: Path) -> list[int]:
    """Return the positions in ``keys`` of the images that a list names.

    Lines are file names or relative paths, ``keys`` the images of ``folder``. Raises NoData when
    the list is missing or empty, UserError when a name has no image or is in several folders.
    """
    try:
        wanted = {line for _, line in lines_of(read_file(path))}
    except (OSError, ValueError) as error:
        raise NoData(
            f'{path}: no such list of images ({error}); {ADVICE}', key='file', value=str(path)
        ) from None
    wanted = {name for name in wanted if not is_system(name)}
    if not wanted:
        raise NoData(f'{path}: lists no images; {ADVICE}', key='file', value=str(path))
    places = {key: i for i, key in enumerate(keys)}
    file_names = [key.rpartition('/')[2] for key in keys]
    counts = Counter(file_names)
    places |= {name: i for i, name in enumerate(file_names) if name not in places}
    if missing := sorted(wanted - set(places)):
        raise UserError(
            f'{path}: {len(missing)} of its {len(wanted)} names are not in {folder}: '
            f'{_some(missing)}; {ADVICE}',
            key='file',
            value=str(path),
        )
    if several := sorted(name for name in wanted if counts[name] > 1 and name not in keys):
        raise UserError(
            f'{path}: {_some(several)}: more than one folder of {folder} has this name; list '
            'paths below it instead',
            key='file',
            value=str(path),
        )
    return sorted(places[name] for name in wanted)


def _some(names: list[str], count: int = 5) -> str:
    return ', '.join(names[:count]) + (', ...' if len(names) > count else '')
