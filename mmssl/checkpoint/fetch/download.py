"""Download one file over http(s): resumable, bounded in size and time, checked by its hash."""

import hashlib
import json
import os
import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TransferSpeedColumn

from ...core import UserError
from .web import ENCODINGS, TooSlow, ask, refusal, shown

ATTEMPTS = 4
PAUSE = 1.0  # seconds after the first attempt; doubles
LIMIT = 20 * 2**30  # bytes of one file
BUSY = (408, 429, 500, 502, 503, 504)  # answers that may be another one later
CONTENT_RANGE = re.compile(r'bytes ([0-9]{1,19})-([0-9]{1,19})/([0-9]{1,19})')


class _Unusable(UserError):
    """An answer that no attempt will make better; unlike a broken transfer it leaves nothing."""


class _Broken(Exception):
    """A transfer that may succeed at another attempt, going on where it stopped."""


class _Other(_Broken):
    """An answer that does not continue what is here: the next attempt begins anew."""


@dataclass(frozen=True)
class Version:
    """Which version of an address a part belongs to: its strong ETag and its length in bytes."""

    etag: str
    total: int


def download(
    address: str,
    target: Path,
    label: str = '',
    hashes: Iterable[tuple[str, str]] = (),
    limit: int = LIMIT,
    check: Callable[[Path], Any] | None = None,
) -> None:
    """Download ``address`` to ``target``, all or nothing, of at most ``limit`` bytes.

    What a broken transfer left lies beside the target and is continued if the server says that
    the file is still the same. ``hashes`` are pairs (algorithm, first digits) the file must have;
    ``check`` raises UserError for a file that is not to be kept. Raises UserError, naming the
    address without its key, when anything of that fails.
    """
    part = target.with_name(f'.part-{target.name}')
    try:
        _attempts(address, part, label, limit)
        _verify(address, part, hashes)
        if check is not None:
            _call_check(address, part, check)
        os.replace(part, target)  # not `atomic_path`: a part outlives the process, to be resumed
    except _Unusable:
        _delete_part(part)
        raise
    except OSError as error:
        raise UserError(
            f'{part.parent}: {error}; free some space, or set TORCH_HOME to another folder',
            key='folder',
            value=str(part.parent),
        ) from None
    finally:
        if not part.is_file() or _resumable(part)[1] is None:
            _delete_part(part)


def _attempts(address: str, part: Path, label: str, limit: int) -> None:
    """Write the part, trying again after what may be better the next time."""
    for attempt in range(ATTEMPTS):
        try:
            return _transfer(address, part, label, limit)
        except TooSlow as error:
            raise _given_up(address, error) from None
        except (_Broken, httpx2.RequestError) as error:
            if isinstance(error, (_Other, httpx2.DecodingError)):
                _delete_part(part)
            if attempt + 1 == ATTEMPTS or isinstance(error, httpx2.UnsupportedProtocol):
                raise _given_up(address, error) from None
        except (httpx2.HTTPError, httpx2.InvalidURL, ValueError) as error:
            raise _given_up(address, error) from None  # such as the address of a proxy
        time.sleep(PAUSE * 2**attempt)


def _given_up(address: str, error: Exception) -> UserError:
    reason = ' '.join(str(error).split()) or type(error).__name__
    return refusal(
        address,
        f'could not be fetched ({reason[:200]}); try again, which goes on where it stopped, or get '
        'it by hand and pass the file',
    )


def _unusable(address: str, reason: str) -> _Unusable:
    return _Unusable(f'{shown(address)}: {reason}', key='file', value=shown(address))


def _version_file(part: Path) -> Path:
    """Return the file that says which version of the address a part belongs to."""
    return part.with_name(f'{part.name}.json')


def _delete_part(part: Path) -> None:
    part.unlink(missing_ok=True)
    _version_file(part).unlink(missing_ok=True)


def _resumable(part: Path) -> tuple[int, Version | None]:
    """Return (bytes that are here, the version they are of); 0 without a version."""
    try:
        stored = json.loads(_version_file(part).read_bytes())
        version = Version(str(stored['etag']), int(stored['total']))
        return part.stat().st_size, version
    except (OSError, ValueError, KeyError, TypeError):
        return 0, None


def _transfer(address: str, part: Path, label: str, limit: int) -> None:
    """Write the bytes to ``part``, or those that it lacks."""
    have, version = _resumable(part)
    headers = {'Range': f'bytes={have}-', 'If-Range': version.etag} if have and version else {}
    with ask(address, headers) as answer:
        response = answer.response
        _check_status(address, response, bool(headers))
        _check_kind(address, response)
        total: int | None
        if response.status_code == 206:
            total = _continued(response, have, version)
        else:
            have = 0
            total = _length(response)
            _keep_version(part, response, total)
        if total is not None:
            _check_size(address, total, limit)
        console = Console(stderr=True)
        columns = ('{task.description}', BarColumn(), DownloadColumn(), TransferSpeedColumn())
        with (
            Progress(*columns, console=console, disable=not console.is_terminal) as progress,
            open(part, 'ab' if have else 'wb') as file,
        ):
            task = progress.add_task(label, total=total, completed=have)
            for block in answer.blocks():
                have += len(block)
                _check_size(address, have, limit)
                file.write(block)
                progress.advance(task, len(block))
    if total is not None and have != total:
        raise _Other(f'sent {have} bytes of a file of {total}')
    if not have:
        raise _unusable(address, 'the server sends an empty file; get it elsewhere')


def _check_status(address: str, response: httpx2.Response, asked_for_rest: bool) -> None:
    """Raise unless the answer is a file, or the rest of one that was asked for."""
    status = response.status_code
    said = f'{status} {response.reason_phrase}'
    if status == 200 or (status == 206 and asked_for_rest):
        return
    if status in (206, 416):
        raise _Other(f'{said}: a part that was not asked for')
    if status in BUSY:
        raise _Broken(said)
    raise _unusable(
        address,
        f'could not be fetched ({said}); check the address, or get the file by hand and pass its '
        'path',
    )


def _check_kind(address: str, response: httpx2.Response) -> None:
    """Raise UserError for a web page, and for an encoding that stays in the file."""
    if response.headers.get('content-type', '').startswith('text/html'):
        raise _unusable(
            address,
            'the server answers with a web page, not with a file; open the address in a browser, '
            'get the file by hand and pass its path',
        )
    encodings = response.headers.get('content-encoding', '').lower().split(',')
    unknown = {encoding.strip() for encoding in encodings} - ENCODINGS
    if unknown:
        raise _unusable(
            address,
            f'the server encodes the file as {", ".join(sorted(unknown))[:80]}, which is not '
            'undone; get it by hand and pass its path',
        )


def _encoded(response: httpx2.Response) -> bool:
    return response.headers.get('content-encoding', '').strip().lower() not in ('', 'identity')


def _length(response: httpx2.Response) -> int | None:
    """Return the length of the file, None when the server does not say it."""
    length = response.headers.get('content-length', '')
    if _encoded(response) or not re.fullmatch('[0-9]{1,19}', length):
        return None
    return int(length)


def _continued(response: httpx2.Response, have: int, version: Version | None) -> int:
    """Return the length of the whole file, whose rest an answer is; raise for any other answer."""
    said = CONTENT_RANGE.fullmatch(response.headers.get('content-range', ''))
    if version is None or said is None or _encoded(response):
        raise _Other('the server continues without saying where')
    begin, end, total = map(int, said.groups())
    if response.headers.get('etag', '') != version.etag or total != version.total:
        raise _Other('the server continues with another version of the file')
    if (begin, end) != (have, total - 1):
        raise _Other('the server continued elsewhere')
    return total


def _check_size(address: str, size: int, limit: int) -> None:
    if size > limit:
        raise _unusable(
            address,
            f'{size} bytes or more, above the limit of {limit}; if it is the right file, get it '
            'by hand and pass its path',
        )


def _keep_version(part: Path, response: httpx2.Response, total: int | None) -> None:
    """Store which version of the file is being written; without a strong ETag none is resumed."""
    etag = response.headers.get('etag', '')
    file = _version_file(part)
    if total is not None and re.fullmatch(r'"[^"]+"', etag):
        file.write_text(json.dumps(dict(etag=etag, total=total)))
    else:
        file.unlink(missing_ok=True)


def _verify(address: str, part: Path, hashes: Iterable[tuple[str, str]]) -> None:
    """Compare the whole file with its published hashes."""
    for algorithm, digits in hashes:
        digest = hashlib.new(algorithm, usedforsecurity=False)
        with open(part, 'rb') as file:
            while block := file.read(1 << 20):
                digest.update(block)
        found = digest.hexdigest()[: len(digits)]
        if found != digits.lower():
            raise _unusable(
                address,
                f'{algorithm} begins with {found}, published is {digits}: damaged on the way, or '
                'replaced; nothing was kept, try again or take another mirror',
            )


def _call_check(address: str, part: Path, check: Callable[[Path], Any]) -> None:
    try:
        check(part)
    except UserError as error:
        reason = str(error).removeprefix(f'{part}: ')
        raise _unusable(address, f'{reason}; nothing was kept') from None
