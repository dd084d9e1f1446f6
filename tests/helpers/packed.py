"""Packed copies of images, by the tool and by hand."""

import functools
import http.server
import importlib
import pickle
import shutil
import threading
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import numpy as np
from PIL import Image

from mmssl.datasets import ImageDataset


@functools.cache
def tool(name: str = 'pack_dataset') -> ModuleType:
    """Return a command line as a module."""
    return importlib.import_module(f'mmssl.cli.{name}')


def pack(*words: object) -> None:
    """Run pack_dataset."""
    tool().main([*map(str, words), '--quiet'])


@contextmanager
def served(folder: Path):
    """Serve a folder over HTTP; yield its address."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    handler = functools.partial(Quiet, directory=str(folder))
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f'http://127.0.0.1:{server.server_port}'
    server.shutdown()
    thread.join()


def write_cifar(root: Path, images: list[np.ndarray], labels: list[int], names: list[str]) -> None:
    """Write images (32, 32, 3) as the authors of CIFAR-10 did: protocol 2, keys of bytes."""
    folder = root / 'cifar-10-batches-py'
    folder.mkdir()
    rows = np.stack([image.transpose(2, 0, 1).reshape(-1) for image in images])
    for k, part in enumerate(np.array_split(np.arange(len(rows)), 5), 1):
        batch = {
            b'batch_label': b'training batch',
            b'labels': [labels[i] for i in part],
            b'data': rows[part],
            b'filenames': [names[i].encode() for i in part],
        }
        (folder / f'data_batch_{k}').write_bytes(pickle.dumps(batch, protocol=2))
    meta = {b'label_names': [b'blue', b'green', b'red']}
    (folder / 'batches.meta').write_bytes(pickle.dumps(meta, protocol=2))


def small(folder: Path, out: Path) -> ImageDataset:
    """Copy class folders with every image resized to 32 px, and return them as a data set."""
    source = ImageDataset(str(folder), 'train')
    for i in range(len(source)):
        path = out / 'train' / source.source.key(i)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.open(source.name(i)).resize((32, 32)).save(path)
    return ImageDataset(str(out), 'train')


def copy(image_folder, out, broken=('red/3.png',)):
    """Copy the images and cut some files."""
    shutil.copytree(image_folder, out)
    for name in broken:
        path = out / 'train' / name
        path.write_bytes(path.read_bytes()[:90])
    return out
