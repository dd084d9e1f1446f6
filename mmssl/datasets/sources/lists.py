"""Lists of images and numbers as people and programs write them: lines, labels, headers."""

import codecs
import csv
import re
from pathlib import Path

from ...core import UserError
from .base import LFS_ADVICE, LFS_POINTER, existing
from .what_is_data import EXTENSIONS

MAX_CLASSES = 1_000_000  # a label above is a mistake: class names are held in memory
_KNOWN = '|'.join(sorted(ext[1:] for ext in EXTENSIONS))
_IMAGE = re.compile(rf'(.+\.(?:{_KNOWN}))(?:[ \t,;]+(.*))?', re.IGNORECASE)
_OTHER = re.compile(r'(.*[^ \t,;])[ \t,;]+(-?\d+)')
HEADERS = {'path', 'file', 'filename', 'file_name', 'image', 'image_path', 'image_id', 'name'}


def decoded(content: bytes) -> str:
    """Return the text of a list, in UTF-8 or with a byte order mark that says otherwise.

    Bytes that are not UTF-8 are kept, as in file names. Raises ValueError where it is no text.
    """
    if content.startswith(LFS_POINTER):
        raise ValueError(LFS_ADVICE)
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode('utf-16')
    if b'\0' in content:
        raise ValueError('not a text file')
    return content.removeprefix(codecs.BOM_UTF8).decode('utf-8', 'surrogateescape')


def lines_of(content: bytes) -> list[tuple[int, str]]:
    """Return number and text of the lines that are not empty. Raises ValueError as `decoded`."""
    lines = enumerate(re.split('\r\n|\n|\r', decoded(content)), 1)
    return [(number, line.strip()) for number, line in lines if line.strip()]


def label_number(text: str) -> int:
    """Return the label that a text gives. Raises ValueError unless it is a number of a class."""
    digits = text.isascii() and text.isdigit() and len(text) <= len(str(MAX_CLASSES))
    if not digits or int(text) >= MAX_CLASSES:
        raise ValueError(f'label {text[:40]!r}: labels are whole numbers, 0 to {MAX_CLASSES - 1}')
    return int(text)


def split_line(line: str) -> tuple[str, int | None]:
    """Return path and label of a line ``path`` or ``path label``; tabs and commas separate too.

    A path whose folders are parted by backslashes alone gets slashes.
    Raises ValueError when something else than one label follows the path.
    """
    if line.startswith('"'):
        try:
            line = ','.join(next(csv.reader([line])))
        except csv.Error as error:
            raise ValueError(str(error)) from None
    found = _IMAGE.fullmatch(line) or _OTHER.fullmatch(line)
    if found is None:
        return _slashes(line), None
    path, label = found.groups()
    return _slashes(path), label_number(label.strip()) if label else None


def _slashes(path: str) -> str:
    """Return a path with the slashes of this system in place of those of Windows."""
    return path if '/' in path else path.replace('\\', '/')


def _is_header(first: str, second: str) -> bool:
    """Whether the first line of a list names its columns."""
    if _IMAGE.fullmatch(first) or _OTHER.fullmatch(first):
        return False
    if first.lower() in HEADERS:
        return _IMAGE.fullmatch(second) is not None
    columns = re.split(r'[ \t,;]+', first)
    found = _IMAGE.fullmatch(second) or _OTHER.fullmatch(second)
    return len(columns) > 1 and found is not None and bool(found.group(2))


def read_list(content: bytes, limit: int | None = None) -> tuple[list[str], list[int]]:
    """Return paths and labels of a list of images; labels are empty where it has none.

    ``limit`` is how many lines to read. Raises ValueError, with the line's number, for a line that
    cannot be read or lacks a label that others have.
    """
    rows = lines_of(content)[:limit]
    if len(rows) > 1 and _is_header(rows[0][1], rows[1][1]):
        del rows[0]
    paths: list[str] = []
    labels: list[int] = []
    for number, line in rows:
        try:
            path, label = split_line(line)
        except ValueError as error:
            raise ValueError(f'line {number}: {error}') from None
        paths.append(path)
        if label is not None:
            labels.append(label)
        if labels and len(labels) != len(paths):
            raise ValueError(
                f'line {number}: some lines have a label and some have none; give all of them '
                'one, or none'
            )
    return paths, labels


def read_lines(path: Path, what: str) -> list[tuple[int, str]]:
    """Return number and text of the lines of a file that are not empty.

    Raises NoData when there is no such file, UserError when it is no text in UTF-8.
    """
    try:
        rows = lines_of(existing(path, what).read_bytes())
        for _, line in rows:
            line.encode()  # refuses the bytes that `decoded` keeps
    except ValueError:
        raise UserError(
            f'{path}: not a {what}, which is text in UTF-8; write it again',
            key='file',
            value=str(path),
        ) from None
    return rows


def labelled_lines(path: Path, what: str, form: str) -> list[tuple[int, str, int]]:
    """Return number, name and label of lines ``name<TAB>label``; -1 stands for no label.

    ``form`` is how a line is written, for messages. Raises NoData when there is no such file,
    UserError when a line has another form.
    """
    rows = []
    for number, line in read_lines(path, what):
        name, tab, text = line.rpartition('\t')
        try:
            label = -1 if text == '-1' else label_number(text)
        except ValueError as error:
            raise _wrong(path, number, f'give {form} ({error})') from None
        if not tab:
            raise _wrong(path, number, f'give {form}')
        rows.append((number, name.strip(), label))
    return rows


def _wrong(path: Path, number: int, cause: str) -> UserError:
    return UserError(f'{path}, line {number}: {cause}', key='file', value=str(path))
