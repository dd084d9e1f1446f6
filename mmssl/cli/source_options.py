"""Find a published data set: in its archive, as downloaded, or in a folder."""

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..core import UserError


def find(source: Path, name: str, parts: Sequence[str], address: str) -> Any:
    """Return the folder that holds ``parts``: ``source`` or its folder ``name``, in zips too.

    An archive or folder around that of the data is looked through. Raises UserError, with the
    address to download from, when there is none.
    """
    if not source.exists():
        raise UserError(
            f'{source}: no such file; download {address}', key='file', value=str(source)
        )
    try:
        root: Any = zipfile.Path(source) if source.is_file() else source
    except zipfile.BadZipFile:
        raise UserError(
            f'{source}: not a zip archive; download {address} again', key='file', value=str(source)
        ) from None
    around = [root, *(child for child in root.iterdir() if child.is_dir())]
    for folder in (root, *(parent / name for parent in around)):
        if all((folder / part).is_dir() for part in parts):
            return folder
    raise UserError(
        f'{source}: no folders {" and ".join(parts)} in it; give {address} as downloaded, or '
        f'the folder {name} of it',
        key='file' if source.is_file() else 'folder',
        value=str(source),
    )
