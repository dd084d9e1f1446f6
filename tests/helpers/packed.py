"""Packed copies of images, by the tool and by hand."""

import functools
import http.server
import importlib
import shutil
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType


@functools.cache
def tool(name: str = 'pack_dataset') -> ModuleType:
    """Return a command line as a module."""
    return importlib.import_module(f'mmssl.cli.{name}')


def pack(*words: object) -> None:
    """Run pack_dataset."""
    tool().main([*map(str, words), '--quiet'])


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a folder over HTTP; yield its address."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    handler = functools.partial(Quiet, directory=str(folder))
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f'http://127.0.0.1:{server.server_port}'
    server.shutdown()
    thread.join()


def copy(image_folder: Path, out: Path, broken: Sequence[str] = ('red/3.png',)) -> Path:
    """Copy the images and cut some files."""
    shutil.copytree(image_folder, out)
    for name in broken:
        path = out / 'train' / name
        path.write_bytes(path.read_bytes()[:90])
    return out
