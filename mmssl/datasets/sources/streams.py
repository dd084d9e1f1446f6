"""Streams of files from disk, over http(s), and from the program of a storage, with time limits."""

import io
import os
import select
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

from .base import MAX_BYTES

TIMEOUT = 60.0  # seconds without a byte
# what prints an object of a storage
PROGRAMS = {'gs': ('gsutil', '-q', 'cat'), 'ais': ('ais', 'get')}
SUFFIX = {'gs': (), 'ais': ('-',)}


@contextmanager
def open_stream(url: str) -> Iterator[BinaryIO]:
    """Yield a binary stream of a shard: a path, or an http, https, gs or ais address.

    Raises ValueError with the cause in one line, also while it is read, and OSError as open does.
    """
    scheme, mark, _ = url.partition(':')
    if not mark:
        if not stat.S_ISREG(os.stat(url).st_mode):
            raise ValueError('not a regular file')
        with open(url, 'rb') as file:
            yield file
    elif scheme in PROGRAMS:
        with _program(scheme, url) as stream:
            yield stream
    else:
        with WebFiles().open(url) as stream:
            yield stream


def root_of_web(text: str) -> bool:
    """Whether files below a root are got over http(s)."""
    return text.startswith(('http://', 'https://'))


class _Blocks(io.RawIOBase):
    """A stream of the blocks that an iterator yields."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self.blocks = blocks
        self.rest = memoryview(b'')

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer as far as the current block does; 0 at the end."""
        while not self.rest:
            block = next(self.blocks, None)
            if block is None:
                return 0
            self.rest = memoryview(block)
        count = min(len(buffer), len(self.rest))
        buffer[:count] = self.rest[:count]
        self.rest = self.rest[count:]
        return count


class WebFiles:
    """Files by their http(s) addresses, over one connection as long as the server keeps it."""

    def __init__(self) -> None:
        import httpx2  # slow to import, seldom needed

        self.failed = (httpx2.HTTPError, httpx2.InvalidURL)
        self.client = httpx2.Client(timeout=TIMEOUT, follow_redirects=True)

    @contextmanager
    def open(self, url: str) -> Iterator[BinaryIO]:
        """Yield a stream of a file.

        Raises FileNotFoundError where the server has none, ValueError for all else, also while it
        is read.
        """
        try:
            with self.client.stream('GET', url) as response:
                if response.status_code in (404, 410):
                    raise FileNotFoundError(f'{url}: no such file')
                if response.status_code != 200:
                    raise ValueError(f'{response.status_code} {response.reason_phrase}')
                yield io.BufferedReader(_Blocks(self._blocks(response)))
        except self.failed as error:
            raise ValueError(_line(str(error)) or type(error).__name__) from None

    def _blocks(self, response: Any) -> Iterator[bytes]:
        try:
            yield from response.iter_bytes()
        except self.failed as error:
            raise ValueError(_line(str(error)) or type(error).__name__) from None

    def get(self, url: str, limit: int = MAX_BYTES) -> bytes:
        """Return the bytes of a file. Raises as `open`, and ValueError for more than ``limit``."""
        with self.open(url) as stream:
            content = stream.read(limit + 1)
        if len(content) > limit:
            raise ValueError(f'more than {limit} bytes')
        return content


@contextmanager
def _program(scheme: str, url: str) -> Iterator[BinaryIO]:
    """Yield what a program of a storage prints; what it says of errors becomes one line."""
    command = (*PROGRAMS[scheme], url, *SUFFIX[scheme])
    if shutil.which(command[0]) is None:
        raise ValueError(f'{scheme}:// needs the program {command[0]}, which is not installed')
    pipe, null = subprocess.PIPE, subprocess.DEVNULL
    with (
        tempfile.TemporaryFile() as said,
        subprocess.Popen(command, stdin=null, stdout=pipe, stderr=said) as process,
    ):
        try:
            yield io.BufferedReader(_Blocks(_printed(command[0], process, said)))
        finally:
            process.kill()


def _printed(name: str, process: Any, said: BinaryIO) -> Iterator[bytes]:
    """Yield what a process prints. Raises ValueError when it fails, or is silent for too long."""
    at = process.stdout.fileno()
    while True:
        ready, _, _ = select.select([at], [], [], TIMEOUT)
        if not ready:
            raise ValueError(f'{name} is silent for {TIMEOUT:.0f} s')
        block = os.read(at, 1 << 16)
        if block:
            yield block
        elif status := process.wait():
            said.seek(max(0, said.seek(0, io.SEEK_END) - 1000))
            last = said.read().decode(errors='replace').strip().splitlines()
            words = _line(last[-1]) if last else f'exit status {status}'
            raise ValueError(f'{name}: {words}')
        else:
            return


def _line(text: str) -> str:
    return ' '.join(text.split())[:200]
