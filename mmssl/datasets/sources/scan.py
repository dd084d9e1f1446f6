"""Images below a folder: regular files, through links, each real folder once."""

import os
import stat
from pathlib import Path

from ...core import UserError
from ..notices import say_once, some
from .what_is_data import is_image, is_system, say_left_out


class Scan:
    """The images below a folder, and what else lies there, as paths relative to it.

    Links to folders are followed after the folders that are really there, so that a folder keeps
    its own path; a link back to a folder above or to one that was read adds nothing. A link whose
    file is missing counts as an image, and is reported when it is read. Raises UserError when a
    folder cannot be listed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.images: list[str] = []
        self.system: list[str] = []
        self.special: list[str] = []  # pipes, sockets, devices
        self.repeated: list[str] = []
        above = Path(os.path.realpath(folder)).parents
        self.seen = {_identity(path) for path in above}
        pending = ['']
        while pending:
            links: list[str] = []
            for path in sorted(pending):
                self._tree(path, links)
            pending = links

    def _tree(self, path: str, links: list[str]) -> None:
        """Read a folder and its real folders; add links to folders to ``links``."""
        pending = [path]
        while pending:
            path = pending.pop()
            identity = _identity(self.folder / path)
            if identity in self.seen:
                self.repeated.append(path)
                continue
            self.seen.add(identity)
            try:
                with os.scandir(self.folder / path) as entries:
                    for entry in entries:
                        self._entry(f'{path}/{entry.name}'.lstrip('/'), entry, pending, links)
            except OSError as error:
                raise UserError(
                    f'{self.folder / path}: cannot be listed ({error.strerror}); allow it or '
                    'remove the folder',
                    key='folder',
                    value=str(self.folder / path),
                ) from None

    def _entry(
        self, path: str, entry: os.DirEntry[str], folders: list[str], links: list[str]
    ) -> None:
        if is_system(entry.name):
            self.system.append(path)
        elif entry.is_dir(follow_symlinks=False):
            folders.append(path)
        elif entry.is_file(follow_symlinks=False):
            self._file(path, stat.S_IFREG)
        else:
            mode = _mode(entry)
            if stat.S_ISDIR(mode):
                links.append(path)
            else:
                self._file(path, mode)

    def _file(self, path: str, mode: int) -> None:
        if is_image(path):
            (self.images if stat.S_ISREG(mode) else self.special).append(path)

    def say(self) -> None:
        """Say once what was left out."""
        say_left_out(self.folder, self.system)
        if self.special:
            say_once(f'{self.folder}: no regular files, left out: {some(sorted(self.special))}')
        if self.repeated:
            say_once(
                f'{self.folder}: links to folders that are read already, left out: '
                f'{some(sorted(self.repeated))}'
            )


def _identity(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_dev, found.st_ino


def _mode(entry: os.DirEntry[str]) -> int:
    """Return the file type behind a link; that of a file where the link leads nowhere."""
    try:
        return entry.stat().st_mode
    except OSError:
        return stat.S_IFREG


def scan(folder: Path) -> list[str]:
    """Return the paths of the images below a folder, relative to it and sorted by their parts."""
    found = Scan(folder)
    found.say()
    return sorted(found.images, key=lambda path: path.split('/'))
