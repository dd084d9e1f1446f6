"""Which of several distributions that write the same package acts, and how to mend a mixture.

Needs Python's library alone: it tells why other libraries cannot be imported.
"""

import base64
import hashlib
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

# modules that more than one distribution writes: the maintained ones first
RIVALS = {
    'mmengine': ('onedl-mmengine', 'mmengine', 'mmengine-lite'),
    'mmcv': ('onedl-mmcv', 'mmcv', 'mmcv-lite', 'mmcv-full'),
    'mmdet': ('onedl-mmdetection', 'mmdet'),
    'mmseg': ('onedl-mmsegmentation', 'mmsegmentation'),
    'cv2': (
        *('opencv-python-headless', 'opencv-python', 'opencv-contrib-python'),
        'opencv-contrib-python-headless',
    ),
}
LARGE = 8 * 2**20  # bytes of a file, such as OpenCV's, of which the size alone is compared


class Distribution(NamedTuple):
    """An installed distribution, and how many of the files of a module are still as it wrote them.

    ``missing`` of its ``files`` are not there, ``own`` are unchanged.
    """

    name: str
    version: str
    files: int
    own: int
    missing: int

    @property
    def whole(self) -> bool:
        """Whether all files are there and its own."""
        return self.own == self.files

    def __str__(self) -> str:
        return f'{self.name} {self.version}'


def installed(name: str) -> str | None:
    """Return the version of a distribution, None where it is not installed."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def distribution(name: str, module: str) -> Distribution | None:
    """Return an installed distribution with the state of a module's files, None where it is not.

    An editable one lists no file of the module and counts as whole.
    """
    try:
        found = metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return None
    files = own = missing = 0
    for file in found.files or ():
        if file.parts[0] != module or file.hash is None:
            continue
        files += 1
        path = Path(file.locate())
        try:
            size = path.stat().st_size
        except OSError:
            missing += 1
            continue
        if file.size is not None and size != file.size:
            continue
        own += size > LARGE or _digest(path.read_bytes(), file.hash.mode) == file.hash.value
    return Distribution(name, found.version, files, own, missing)


def _digest(content: bytes, kind: str) -> str:
    return base64.urlsafe_b64encode(hashlib.new(kind, content).digest()).decode().rstrip('=')


def of_module(module: str) -> list[Distribution]:
    """Return the installed distributions of a module of `RIVALS`, the one that acts first.

    That is the one of whose files the largest share is its own.
    """
    names = RIVALS[module]
    found = [one for name in names if (one := distribution(name, module)) is not None]
    return sorted(found, key=lambda one: -one.own / max(one.files, 1) if one.files else -1.0)


def mixture(module: str, found: Sequence[Distribution]) -> str | None:
    """Return what is wrong with the distributions of a module and the commands that mend it.

    None where a single one is installed and none of its files is missing.
    """
    if not found:
        return None
    acting = found[0]
    if len(found) == 1:
        if not acting.missing:
            return None
        return (
            f'{acting} lacks {acting.missing} of its {acting.files} files of {module}, as after '
            'another distribution of it was removed: pip install --force-reinstall --no-deps '
            f'{acting.name}=={acting.version}'
        )
    told = ', '.join(f'{one} (of its {one.files} files {one.own} are unchanged)' for one in found)
    acts = f'{acting.name} acts' if acting.whole else 'parts of each act'
    kept = next(one for name in RIVALS[module] for one in found if one.name == name)
    names = ' '.join(one.name for one in found)
    return (
        f'the package {module} is written by {told}: {acts}, and removing one breaks the other: '
        f'pip uninstall -y {names}; then pip install {kept.name}=={kept.version}'
    )
