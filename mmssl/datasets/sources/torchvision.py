"""Source of torchvision's data sets, by the name of their class."""

import inspect
import io
import os
import re
import socket
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision.datasets as library
from filelock import FileLock
from PIL import Image

from ...core import UserError
from ...core.errors import NoData, closest
from ...registry import DATASETS
from .base import Names, Source, numbered, read_file

# they unpickle a file beside the images whose hash nobody checks
UNCHECKED_PICKLES = ('LSUN', 'LSUNClass')
GIVEN = ('self', 'root', 'split', 'download', 'loader', 'transform', 'target_transform')
LABELS = ('targets', 'labels', '_labels')  # where classes of torchvision keep one for each image
SPLITS = ('split', 'image_set')
TIMEOUT = 60.0  # seconds without a byte
PNM = {'L': b'P5', 'RGB': b'P6'}  # by the mode of an image


def file_of_image(image: Any) -> bytes:
    """Return an image as a file: Pillow's, uint8 (H, W, 3) of numpy, or (3, H, W) of torch.

    PNM where that holds its pixels, else PNG. Raises ValueError for what is no such image.
    """
    if isinstance(image, torch.Tensor):
        image = image.movedim(0, -1).squeeze(-1).numpy() if image.dim() == 3 else image.numpy()
    if isinstance(image, np.ndarray):
        if image.dtype != np.uint8 or image.ndim not in (2, 3):
            raise ValueError(f'no image but an array {image.shape} of {image.dtype}')
        image = Image.fromarray(image)
    if not isinstance(image, Image.Image):
        raise ValueError(f'no image but {type(image).__name__}')
    if image.mode in PNM:
        return PNM[image.mode] + b' %d %d 255\n' % image.size + image.tobytes()
    file = io.BytesIO()
    image.save(file, 'PNG')
    return file.getvalue()


def _parameters(kind: type) -> dict[str, inspect.Parameter]:
    """Return the arguments of a class, following ``**kwargs`` up its bases."""
    found: dict[str, inspect.Parameter] = {}
    for base in kind.__mro__:
        if '__init__' not in vars(base):
            continue
        own = inspect.signature(vars(base)['__init__']).parameters
        found = {**own, **found}
        if not any(p.kind is p.VAR_KEYWORD for p in own.values()):
            break
    return {name: p for name, p in found.items() if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)}


def _named(name: str, allow_pickle: bool) -> Any:
    """Return a class of torchvision. Raises UserError for another name, and for unsafe pickles."""
    if name not in library.__all__ or not inspect.isclass(getattr(library, name)):
        near = closest(name, library.__all__)
        raise UserError(
            f"TorchvisionSource: torchvision has no data set of name='{name}'{near}",
            key='dataset.source.name',
            value=name,
        )
    if name in UNCHECKED_PICKLES and not allow_pickle:
        raise UserError(
            f'TorchvisionSource: {name} unpickles a file beside its images, which can run anything '
            'and whose hash is not checked; where you trust the folder, give '
            'dataset.source.allow_pickle=True',
            key='dataset.source.allow_pickle',
            value=allow_pickle,
        )
    return getattr(library, name)


def _split_argument(name: str, known: set[str], split: str) -> dict[str, Any]:
    """Return the argument by which a class selects a split. Raises UserError where it has none."""
    if not split:
        return {}
    if 'train' in known:
        if split not in ('train', 'test'):
            raise UserError(
                f"dataset.split='{split}': {name} has 'train' and 'test'; use one of these",
                key='dataset.split',
                value=split,
            )
        return dict(train=split == 'train')
    for argument in SPLITS:
        if argument in known:
            return {argument: split}
    raise UserError(
        f"dataset.split='{split}': {name} has no splits; give split='' and a part of it by "
        'dataset.share',
        key='dataset.split',
        value=split,
    )


def _cause(error: BaseException) -> str:
    return ' '.join(str(error).split())[:300] or type(error).__name__


@contextmanager
def _time_limit() -> Iterator[None]:
    """Bound the silence of new connections: torchvision sets no limit."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


class _Builder:
    """Makes the object of a class of torchvision; its failures become one line."""

    def __init__(self, name: str, kind: Any, arguments: dict[str, Any]) -> None:
        self.name = name
        self.kind = kind
        self.arguments = arguments

    def __call__(self, **changed: Any) -> Any:
        """Return the data set. Raises NoData where its files are not there, UserError else."""
        arguments = {**self.arguments, **changed}
        root = str(arguments.get('root', ''))
        try:
            return self.kind(**arguments)
        except ImportError as error:
            missing = (error.name or _cause(error)).partition('.')[0]
            raise self._needs(missing) from None
        except (ValueError, TypeError) as error:
            split = next((a for a in SPLITS if a in arguments and a in str(error)), None)
            key = 'dataset.split' if split else 'dataset.source.args'
            value = arguments[split] if split else self.arguments
            raise UserError(
                f'TorchvisionSource: {self.name} refuses {key}={value!r}: {_cause(error)}',
                key=key,
                value=value,
            ) from None
        except Exception as error:  # each class has failures of its own
            if advised := re.search(r'pip install (\w+)', str(error)):
                raise self._needs(advised[1]) from None
            raise NoData(
                f'{root}: no {self.name} of torchvision ({_cause(error)}); correct data_root, or '
                'give dataset.source.download=True',
                key='folder',
                value=root,
            ) from None

    def _needs(self, library: str) -> UserError:
        """Return the error that a library is missing."""
        return UserError(
            f'TorchvisionSource: {self.name} needs a library: pip install {library}',
            key=library,
            value=None,
        )

    def download(self, root: Path) -> Any:
        """Return the data set, downloaded beside ``root`` and moved there when it is whole.

        Raises UserError where it cannot be had; nothing of it stays then.
        """
        try:
            root.mkdir(parents=True, exist_ok=True)
            with FileLock(root / f'.{self.name}.lock'):
                try:
                    return self()  # another process may have been first
                except NoData:
                    self._fetch(root)
        except OSError as error:
            raise UserError(
                f'{root}: {self.name} cannot be downloaded ({_cause(error)}); nothing of it was '
                'kept: look at the network, or put its files there yourself',
                key='folder',
                value=str(root),
            ) from None
        return self()

    def _fetch(self, root: Path) -> None:
        with tempfile.TemporaryDirectory(prefix=f'.{self.name}-', dir=root) as staging:
            try:
                with _time_limit():
                    self.kind(**{**self.arguments, 'root': staging, 'download': True})
            except Exception as error:  # of network, archives and hashes
                raise OSError(_cause(error)) from None
            for folder, _, files in os.walk(staging):
                target = root / Path(folder).relative_to(staging)
                target.mkdir(exist_ok=True)
                for file in files:
                    os.replace(Path(folder) / file, target / file)


@DATASETS.register_module()
class TorchvisionSource(Source):
    """Images of the class ``name`` of `torchvision.datasets`, below ``data_root``.

    ``split`` becomes the class's ``split``, ``train`` or ``image_set``, of its `ImageFolder` a
    folder; ``args`` are its other arguments. Where the class opens files by a ``loader``, images
    are these files, else what it returns as PNM or PNG. Labels are its targets where these are
    numbers from 0; -1 (STL10's unlabelled images) stands for none. ``download`` gets what is
    missing, all or nothing. Raises NoData when its files are not there, UserError for a name,
    split or argument that torchvision does not know, for a library that is missing, for what is
    no image, and for a class that unpickles unchecked files unless ``allow_pickle``.
    """

    def __init__(
        self,
        data_root: str = '',
        split: str = '',
        with_label: bool = True,
        *,
        name: str,
        args: dict[str, Any] | None = None,
        download: bool = False,
        allow_pickle: bool = False,
    ) -> None:
        kind = _named(name, allow_pickle)
        known = set(_parameters(kind))
        self.kind = name
        self.split = split
        self.root = Path(data_root)
        arguments = self._arguments(kind, known, args or {})
        builder = _Builder(name, kind, arguments)
        if not download:
            self.data = builder()
        elif 'download' in known:
            self.data = builder.download(self.root)
        else:
            raise UserError(
                f'dataset.source.download: torchvision does not download {name}; put its files '
                f'into {data_root} yourself',
                key='dataset.source.download',
                value=download,
            )
        if not len(self.data):
            raise NoData(
                f'{data_root}: {name} has no images there; correct data_root or split',
                key='folder',
                value=data_root,
            )
        first = self._item(0)[0]
        self.paths = None  # of the files that a loader would open
        if isinstance(first, (str, Path)):
            self.paths = Names(str(self._item(i)[0]) for i in range(len(self.data)))
        else:
            self._check_image(first)
        if with_label:
            self._label()

    def _arguments(self, kind: type, known: set[str], args: dict[str, Any]) -> dict[str, Any]:
        for argument in args:
            if argument not in known or argument in GIVEN:
                raise UserError(
                    f"dataset.source.args: {self.kind} takes no '{argument}' there"
                    f'{closest(argument, known - set(GIVEN))}',
                    key='dataset.source.args',
                    value=args,
                )
        found = dict(args)
        folders = kind is library.ImageFolder
        if 'root' in known:
            found['root'] = str(self.root / self.split if folders else self.root)
        if 'loader' in known:
            found['loader'] = str  # an item then has the path in place of the image
        if not folders:
            found |= _split_argument(self.kind, known, self.split)
        return found

    def _item(self, i: int) -> tuple[Any, Any]:
        """Return image, or path, and target. Raises UserError where an item is no such pair."""
        item = self.data[i]
        if not isinstance(item, tuple) or len(item) != 2:
            raise UserError(
                f'TorchvisionSource: an item of {self.kind} is not an image and a label; use a '
                'data set of images',
                key='dataset.source.name',
                value=self.kind,
            )
        return item

    def _check_image(self, image: Any) -> None:
        try:
            file_of_image(image)
        except (ValueError, TypeError, OSError) as error:
            raise UserError(
                f'TorchvisionSource: an item of {self.kind} is {_cause(error)}; use a data set of '
                'images',
                key='dataset.source.name',
                value=self.kind,
            ) from None

    def _label(self) -> None:
        """Set labels and class names, or why there are none."""
        labels = self._stored_labels()
        if not labels:
            labels = _numbers(self._item(i)[1] for i in range(len(self.data)))
        if not labels:
            self.unlabelled = f'targets of {self.kind} are not numbers of classes'
        elif min(labels) < 0:
            self.unlabelled = f'{self.kind} has images without a class in {self.split}'
        else:
            self.labels = labels
            names = getattr(self.data, 'classes', ())  # few classes have none
            fits = isinstance(names, (list, tuple)) and len(names) > max(labels)
            self.classes = tuple(map(_words, names)) if fits else numbered(labels)

    def _stored_labels(self) -> list[int]:
        """Return the labels that the object holds as an attribute, [] where they are no items'."""
        last = len(self.data) - 1
        for attribute in LABELS:
            stored = getattr(self.data, attribute, None)  # as each class calls it
            if not isinstance(stored, (list, np.ndarray, torch.Tensor)) or len(stored) != last + 1:
                continue
            labels = _numbers(stored)
            if labels and all(labels[i] == _number(self._item(i)[1]) for i in (0, last)):
                return labels
        return []

    def __len__(self) -> int:
        return len(self.data)

    def index(self) -> Iterator[Any]:
        """Yield the paths, or the class and number of images."""
        if self.paths is None:
            yield os.fsencode(f'{self.kind}\n{self.split}\n{len(self)}\n')
        else:
            yield from self.paths.buffers()

    def key(self, i: int) -> str:
        """Return the path below ``data_root``, or a number, below the name of the class."""
        folder = self.classes[self.labels[i]].replace('/', '_') if len(self.labels) else ''
        if self.paths is None:
            return f'{folder}/{i:06d}.png'.lstrip('/')
        root = self.root / self.split if self.kind == 'ImageFolder' else self.root
        key = os.path.relpath(self.paths[i], root)
        return key if not folder or key.startswith(f'{folder}/') else f'{folder}/{key}'

    def name(self, i: int) -> str:
        """Return the path, or the class with the number of the image."""
        if self.paths is not None:
            found: str = self.paths[i]
            return found
        return f'{self.root}@{self.kind}{f"({self.split})" if self.split else ""}/{i:06d}'

    def read(self, i: int) -> bytes:
        """Return the image's file."""
        if self.paths is not None:
            return read_file(Path(self.paths[i]))
        return file_of_image(self._item(i)[0])


def _number(target: Any) -> int | None:
    """Return a target that is the number of a class, else None."""
    if isinstance(target, (np.ndarray, torch.Tensor)) and target.ndim == 0:
        target = target.item()
    if isinstance(target, (int, np.integer)) and not isinstance(target, bool):
        return int(target)
    return None


def _numbers(targets: Iterable[Any]) -> list[int]:
    """Return targets that are all numbers of classes, else []."""
    found = []
    for target in targets:
        number = _number(target)
        if number is None:
            return []
        found.append(number)
    return found


def _words(name: Any) -> str:
    """Return the name of a class; ImageNet's are tuples of synonyms."""
    return ', '.join(name) if isinstance(name, tuple) else str(name)
