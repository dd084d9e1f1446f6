"""Bring a checkpoint to this machine, once."""

import hashlib
import os
import shutil
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import unquote, urlparse

import torch
from rich.progress import Progress

from ..core import UserError, dist

TIMEOUT = 30  # seconds without an answer
LIMIT = 20 * 2**30  # bytes


def local_path(address: str | Path) -> Path:
    """Return a local file for a path or an http(s) or file address, downloading at most once.

    A download is kept in torch's hub folder under the hash of its address, since many published
    files share a name. It is written beside its final name and renamed when whole; the first
    rank downloads, the others wait. Raises UserError naming the address.
    """
    text = str(address)
    if '://' not in text:
        return Path(text)
    parts = urlparse(text)
    if parts.scheme == 'file':
        return Path(unquote(parts.path))
    if parts.scheme not in ('http', 'https'):
        raise UserError(f'{text}: addresses begin with http, https or file')
    target = cached(text)
    if dist.rank() == 0 and not target.is_file():
        _download(text, target)
    dist.wait()
    if not target.is_file():
        raise UserError(f'{text}: the download failed on the first process')
    return target


def cached(address: str) -> Path:
    """Return where an address is kept."""
    name = Path(unquote(urlparse(address).path)).name or 'checkpoint'
    key = hashlib.sha256(address.encode()).hexdigest()[:16]
    return Path(torch.hub.get_dir()) / 'checkpoints' / f'{key}-{name}'


def _download(address: str, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.with_name(f'.{target.name}.{os.getpid()}')
    try:
        with urllib.request.urlopen(address, timeout=TIMEOUT) as answer:  # scheme checked above
            size = int(answer.headers.get('Content-Length') or 0)
            if size > LIMIT:
                raise UserError(f'{address}: {size} bytes, above the limit of {LIMIT}')
            with Progress() as progress, open(beside, 'wb') as file:
                task = progress.add_task(target.name[17:], total=size or None)
                while block := answer.read(1 << 20):
                    file.write(block)
                    progress.advance(task, len(block))
        if size and beside.stat().st_size != size:
            raise UserError(f'{address}: the download broke off; try again')
        shutil.move(beside, target)
    except (urllib.error.URLError, TimeoutError, OSError) as error:
        reason = getattr(error, 'reason', error)
        raise UserError(
            f'{address}: could not be fetched ({reason}); download it by hand and pass the file'
        ) from None
    finally:
        beside.unlink(missing_ok=True)
