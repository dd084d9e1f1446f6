"""Download one file over http(s): resumable, bounded in size, checked by its hash."""

import hashlib
import http.client
import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TransferSpeedColumn

from ...core import UserError
from .web import opener, shown

TIMEOUT = 30.0  # seconds without a byte
ATTEMPTS = 4
PAUSE = 1.0  # seconds after the first attempt; doubles
LIMIT = 20 * 2**30  # bytes of one file


class _TooLarge(UserError):
    """A file above the limit; unlike a broken transfer it leaves nothing behind."""


def download(
    address: str,
    target: Path,
    label: str = '',
    hashes: Iterable[tuple[str, str]] = (),
    limit: int = LIMIT,
) -> None:
    """Download ``address`` to ``target``, all or nothing, of at most ``limit`` bytes.

    What a broken transfer left lies beside the target and is continued if the server says that
    the file is still the same. ``hashes`` are pairs (algorithm, first digits) the file must have.
    Raises UserError, naming the address without its key, when that fails or the hash is another.
    """
    part = target.with_name(f'.{target.name}.part')
    for attempt in range(ATTEMPTS):
        try:
            _transfer(address, part, label, limit)
            break
        except _TooLarge:
            _delete_part(part)
            raise
        except (OSError, http.client.HTTPException) as error:
            if attempt + 1 == ATTEMPTS or not _may_succeed_later(error, part):
                reason = _reason(error)
                raise UserError(
                    f'{shown(address)}: could not be fetched ({reason}); try again, which goes '
                    'on where it stopped, or get it by hand and pass the file',
                    key='file',
                    value=shown(address),
                ) from None
            time.sleep(PAUSE * 2**attempt)
    _verify(address, part, hashes)
    os.replace(part, target)  # not `atomic_path`: a part outlives the process, to be resumed
    _mark_file(part).unlink(missing_ok=True)


def _reason(error: Exception) -> str:
    """Return an error in one line: urllib and ssl have ``reason``, others do not."""
    text = str(getattr(error, 'reason', '') or error or type(error).__name__)
    return ' '.join(text.split())


def _may_succeed_later(error: Exception, part: Path) -> bool:
    """Whether another attempt may help: network errors, and servers that are busy."""
    if not isinstance(error, urllib.error.HTTPError):
        return True
    if error.code == 416:  # what we have is not a part of what they have
        _mark_file(part).unlink(missing_ok=True)
    return error.code in (408, 416, 429) or error.code >= 500


def _mark_file(part: Path) -> Path:
    """Return the file that says which version of the address a part belongs to."""
    return part.with_suffix('.json')


def _delete_part(part: Path) -> None:
    part.unlink(missing_ok=True)
    _mark_file(part).unlink(missing_ok=True)


def _resumable(part: Path) -> tuple[int, str]:
    """Return (bytes that are here, the server's mark of their version), 0 without a mark."""
    try:
        mark = json.loads(_mark_file(part).read_text())['mark']
        return part.stat().st_size, str(mark)
    except (OSError, ValueError, KeyError, TypeError):
        return 0, ''


def _transfer(address: str, part: Path, label: str, limit: int) -> None:
    """Write the bytes to ``part``, or those that it lacks."""
    have, mark = _resumable(part)
    request = urllib.request.Request(address, headers={'User-Agent': 'mmssl'})
    if have:
        request.add_header('Range', f'bytes={have}-')
        request.add_header('If-Range', mark)
    with opener().open(request, timeout=TIMEOUT) as answer:
        if answer.status != 206:
            have = 0
        elif not (answer.headers.get('Content-Range') or '').startswith(f'bytes {have}-'):
            _mark_file(part).unlink(missing_ok=True)
            raise ConnectionError('the server continued elsewhere')
        size = _size(address, answer.headers, have, limit)
        _keep_mark(part, answer.headers)
        console = Console(stderr=True)
        columns = ('{task.description}', BarColumn(), DownloadColumn(), TransferSpeedColumn())
        with (
            Progress(*columns, console=console, disable=not console.is_terminal) as progress,
            open(part, 'ab' if have else 'wb') as file,
        ):
            task = progress.add_task(label, total=size, completed=have)
            while block := answer.read(1 << 18):
                have += len(block)
                _check_size(address, have, limit)
                file.write(block)
                progress.advance(task, len(block))
    if size is not None and have != size:
        raise ConnectionError(f'broke off after {have} of {size} bytes')


def _size(address: str, headers: Any, have: int, limit: int) -> int | None:
    """Return the length of the whole file, None when the server does not say it.

    Raises UserError for a web page and for a file above the limit.
    """
    if (headers.get('Content-Type') or '').startswith('text/html'):
        raise UserError(
            f'{shown(address)}: the server answers with a web page, not with a file; open the '
            'address in a browser, get the file by hand and pass its path',
            key='file',
            value=shown(address),
        )
    length = headers.get('Content-Length') or ''
    if not length.isdigit():
        return None
    _check_size(address, have + int(length), limit)
    return have + int(length)


def _check_size(address: str, size: int, limit: int) -> None:
    if size > limit:
        raise _TooLarge(
            f'{shown(address)}: {size} bytes or more, above the limit of {limit}; if it is the '
            'right file, get it by hand and pass its path',
            key='file',
            value=shown(address),
        )


def _keep_mark(part: Path, headers: Any) -> None:
    """Store which version of the file is being written; without a mark nothing is resumed."""
    mark = headers.get('ETag') or ''
    if not mark or mark.startswith('W/'):
        mark = headers.get('Last-Modified') or ''
    if mark:
        _mark_file(part).write_text(json.dumps({'mark': mark}))
    else:
        _mark_file(part).unlink(missing_ok=True)


def _verify(address: str, part: Path, hashes: Iterable[tuple[str, str]]) -> None:
    """Compare the whole file with its published hashes; delete it when one is another."""
    for algorithm, digits in hashes:
        digest = hashlib.new(algorithm, usedforsecurity=False)
        with open(part, 'rb') as file:
            while block := file.read(1 << 20):
                digest.update(block)
        found = digest.hexdigest()[: len(digits)]
        if found != digits.lower():
            _delete_part(part)
            raise UserError(
                f'{shown(address)}: {algorithm} begins with {found}, published is {digits}: '
                'damaged on the way, or replaced; nothing was kept, try again or take another '
                'mirror',
                key='file',
                value=shown(address),
            )
