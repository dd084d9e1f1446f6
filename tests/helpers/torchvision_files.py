"""Data sets of torchvision on disk, a few images in the format of each class."""

import hashlib
import pickle
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.io import savemat
from torchvision.datasets import CIFAR10, STL10, Flowers102

from .images import make_image


def pixels(side: int, count: int, first: int = 0) -> list[NDArray[Any]]:
    """Return images (side, side, 3) of bytes."""
    return [np.asarray(make_image((side, side), first + i)) for i in range(count)]


def _md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


def write_cifar10(root: Path, monkeypatch: pytest.MonkeyPatch, images: int = 6) -> Path:
    """Write CIFAR-10 as its authors did, of few images; tell the class the hashes of its files."""
    folder = root / CIFAR10.base_folder
    folder.mkdir(parents=True)
    hashes = {}
    for k, name in enumerate([f'data_batch_{i}' for i in range(1, 6)] + ['test_batch']):
        count = images // 5 + (k < images % 5)
        rows = [image.transpose(2, 0, 1).reshape(-1) for image in pixels(32, count, 10 * k)]
        batch = dict(labels=[(k + i) % 3 for i in range(count)], data=np.array(rows))
        (folder / name).write_bytes(pickle.dumps(batch, protocol=2))
        hashes[name] = _md5(folder / name)
    names = dict(label_names=['blue', 'green', 'red'])
    (folder / 'batches.meta').write_bytes(pickle.dumps(names, protocol=2))
    lists = [[name, digest] for name, digest in hashes.items()]
    monkeypatch.setattr(CIFAR10, 'train_list', lists[:5])
    monkeypatch.setattr(CIFAR10, 'test_list', lists[5:])
    monkeypatch.setattr(CIFAR10, 'meta', {**CIFAR10.meta, 'md5': _md5(folder / 'batches.meta')})
    found: Path = folder
    return found


def pack_cifar10(root: Path, monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    """Put the folder of CIFAR-10 into the archive that the class downloads from ``address``."""
    archive = root / CIFAR10.filename
    with tarfile.open(archive, 'w:gz') as tar:
        tar.add(root / CIFAR10.base_folder, CIFAR10.base_folder)
    monkeypatch.setattr(CIFAR10, 'url', f'{address}/{CIFAR10.filename}')
    monkeypatch.setattr(CIFAR10, 'tgz_md5', _md5(archive))


def write_stl10(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write STL-10: images column by column, labels from 1, four of them without labels."""
    folder = root / STL10.base_folder
    folder.mkdir(parents=True)
    for k, (name, count) in enumerate((('train', 5), ('test', 4), ('unlabeled', 4))):
        rows = [image.transpose(2, 1, 0) for image in pixels(96, count, 20 * k)]
        (folder / f'{name}_X.bin').write_bytes(np.array(rows).tobytes())
        if name != 'unlabeled':
            (folder / f'{name}_y.bin').write_bytes(bytes(1 + i % 3 for i in range(count)))
    (folder / STL10.class_names_file).write_text('airplane\nbird\ncar\n')
    for name in ('train_list', 'test_list'):
        files = [[file, None] for file, _ in getattr(STL10, name)]
        monkeypatch.setattr(STL10, name, files)


def write_flowers(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write Oxford's flowers: eight JPEGs, their labels from 1 and the numbers of each split."""
    folder = root / 'flowers-102'
    (folder / 'jpg').mkdir(parents=True)
    for i in range(1, 9):
        make_image((40, 30 + i), i).save(folder / f'jpg/image_{i:05d}.jpg')
    savemat(folder / 'imagelabels.mat', dict(labels=[[3, 1, 2, 3, 102, 1, 7, 5]]))
    savemat(folder / 'setid.mat', dict(trnid=[[1, 3, 5, 6]], valid=[[2, 8]], tstid=[[7, 4]]))
    files = {part: (file, None) for part, (file, _) in Flowers102._file_dict.items()}
    monkeypatch.setattr(Flowers102, '_file_dict', files)
