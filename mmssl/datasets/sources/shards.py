"""Source of WebDataset tar shards, read as streams from disk or over the network."""

import json
import os
import re
import tarfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mmengine.fileio as fileio
import numpy as np

from ...core import UserError
from ...core.errors import NoData
from ...registry import DATASETS
from .base import MAX_BYTES, PerProcess, Source, existing, numbered, parsed
from .lists import MAX_CLASSES, label_number
from .streams import WebFiles, open_stream, root_of_web
from .what_is_data import EXTENSIONS, is_system, say_left_out

WINDOW = 1000  # samples a stream keeps for later, and the sampler shuffles within
OPEN = 16  # shards a process reads from at once
SCHEMES = ('http', 'https', 'gs', 'ais')
MAX_SAMPLES = 1_000_000  # of one shard
MAX_IMAGES = 1_000_000_000  # of all: an index of 8 bytes for each is held in memory
MAX_HEADER = 2**20  # bytes of an entry that holds names for the next one
NAMES = (
    *(tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE),
    *(tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK),
)
META = re.compile(r'__[^/]*__($|/)')  # names that WebDataset keeps for itself
IMAGES = tuple(ext[1:] for ext in sorted(EXTENSIONS))


class _Entry(tarfile.TarInfo):
    """An entry of a tar file; long names are bounded, since tarfile reads them at once."""

    @classmethod
    def frombuf(cls, buf: Any, encoding: str, errors: str) -> Any:
        """Return the entry that a header describes. Raises ValueError for a name too long."""
        entry = super().frombuf(buf, encoding, errors)
        if entry.type in NAMES and entry.size > MAX_HEADER:
            raise ValueError(f'a name of {entry.size} bytes')
        return entry


def _files(stream: Any, url: str, selected: Callable[[str], bool]) -> Iterator[dict[str, Any]]:
    """Yield the selected files of a tar stream, as `group_by_keys` takes them.

    Raises ValueError for one of more than `MAX_BYTES`, before it is read: a compressed stream
    may hold a thousand times its size.
    """
    with tarfile.open(fileobj=stream, mode='r|*', tarinfo=_Entry) as tar:
        for entry in tar:
            tar.members = []  # type: ignore[attr-defined]  # kept otherwise
            if not entry.isreg() or META.match(entry.name) or not selected(entry.name):
                continue
            if entry.size > MAX_BYTES:
                raise ValueError(f'{entry.name[:60]} has {entry.size} bytes')
            file = tar.extractfile(entry)
            yield dict(fname=entry.name, data=file.read() if file else b'', __url__=url)


def samples_of(url: str, left_out: list[str] | None = None) -> Iterator[dict[str, Any]]:
    """Yield the samples of a shard, without hidden and system files; note these in ``left_out``.

    Raises ValueError for a shard that is no regular file, and whatever tar, network or
    decompression raise.
    """
    from webdataset.tariterators import group_by_keys  # slow to import, seldom needed

    def selected(name: str) -> bool:
        if left_out is not None and is_system(name):
            left_out.append(name)
        return not is_system(name)

    with open_stream(url) as stream:
        yield from group_by_keys(_files(stream, url, selected))


class Shard:
    """One open shard, read as a stream from its first sample on."""

    def __init__(self, url: str) -> None:
        self.samples = samples_of(url)
        self.next = 0

    def step(self) -> dict[str, Any]:
        """Return the next sample. Raises ValueError with the cause when there is no next one."""
        try:
            sample = next(self.samples)
        except StopIteration:
            raise ValueError(
                f'the shard ends after {self.next} samples, its index promises more'
            ) from None
        except Exception as error:  # whatever tar, network or decompression raise
            how = f'breaks off after {self.next} samples' if self.next else 'cannot be read'
            # the library hangs streams and addresses on the message
            said = str((error.args or ['?'])[0])
            if isinstance(error, OSError) and error.strerror:
                said = error.strerror
            raise ValueError(f'the shard {how} ({said.partition(" @ ")[0]})') from None
        self.next += 1
        return sample


class Streams:
    """The open shards of a process and a buffer of the latest samples that were skipped."""

    def __init__(self) -> None:
        self.open: OrderedDict[int, Shard] = OrderedDict()
        self.passed: OrderedDict[tuple[int, int], dict[str, Any]] = OrderedDict()
        self.ends: dict[int, tuple[int, str]] = {}  # shard -> samples it really has, and why

    def get(self, url: str, number: int, at: int) -> dict[str, Any]:
        """Return sample ``at`` of a shard. Raises ValueError when the shard ends before it."""
        if (number, at) in self.passed:
            return self.passed.pop((number, at))
        if number in self.ends and at >= self.ends[number][0]:
            raise ValueError(self.ends[number][1])
        shard = self.open.pop(number, None)
        if shard is None or at < shard.next:
            shard = Shard(url)
        while True:
            try:
                sample = shard.step()
            except ValueError as error:
                self.ends[number] = shard.next, str(error)
                raise
            if shard.next > at:
                break
            _bounded(self.passed, (number, shard.next - 1), sample, 2 * WINDOW)
        _bounded(self.open, number, shard, OPEN)
        return sample


def _bounded(table: OrderedDict[Any, Any], key: Any, value: Any, size: int) -> None:
    """Add an entry, and drop the oldest when there are more than ``size``."""
    table[key] = value
    while len(table) > size:
        table.popitem(last=False)


def read_index(root: str, split: str) -> list[dict[str, Any]]:
    """Return url, nsamples and, where present, labels of the shards in ``root/<split>.json``.

    The format is wids, the library's own, with labels added by `write_shard_index`. Raises NoData
    when there is no index, UserError when it is not an index, has numbers that count nothing, or
    has an address that the library would run as a command.
    """
    name = _index_name(root, split)
    try:
        text = _index_text(name)
    except (NoData, OSError):
        raise NoData(
            f'{name}: no such index of shards; write it beside them with python '
            'tools/dataset_tools/pack_dataset.py --index SHARDS',
            key='file',
            value=name,
        ) from None
    try:
        shards = parsed(text)['shardlist']
        if not isinstance(shards, list):
            raise ValueError('shardlist is no list')
        for shard in shards:
            _check_entry(shard)
            shard['url'] = _address(root, shard['url'])
        if sum(shard['nsamples'] for shard in shards) > MAX_IMAGES:
            raise ValueError(f'more than {MAX_IMAGES} samples')
    except (ValueError, LookupError, TypeError) as error:
        raise UserError(
            f'{name}: not an index of shards ({error}); write it again', key='file', value=name
        ) from None
    return shards


def _check_entry(shard: dict[str, Any]) -> None:
    """Check one shard's line of an index. Raises ValueError for numbers that count nothing."""
    count = shard['nsamples']
    if type(count) is not int or not 0 <= count <= MAX_SAMPLES:
        raise ValueError(f'nsamples={_short(count)}, of at most {MAX_SAMPLES}')
    url = shard['url']
    if not isinstance(url, str) or not url.isprintable():
        raise ValueError(f'url={_short(url)}')
    labels = shard.get('labels', [])
    if not isinstance(labels, list) or (labels and len(labels) != count):
        raise ValueError(f'labels of {shard["url"]} are not one for each of {count} samples')
    for label in labels:
        if type(label) is not int or not 0 <= label < MAX_CLASSES:
            raise ValueError(
                f'label {_short(label)}: labels are whole numbers, 0 to {MAX_CLASSES - 1}'
            )


def _short(value: object) -> str:
    """Return a number or text as it is written, cut, and of others the type."""
    return repr(value)[:40] if isinstance(value, (int, float, str)) else type(value).__name__


def _index_text(name: str) -> bytes:
    try:
        if root_of_web(name):
            return WebFiles().get(name)
        if '://' not in name:
            return existing(Path(name), 'index').read_bytes()
        return bytes(fileio.get(name))
    except (ValueError, LookupError, NotImplementedError, AssertionError, ImportError) as error:
        cause = ' '.join(str(error).split())[:200]
        raise UserError(
            f'{name}: cannot be read ({cause}); give data_root as a folder or an http address',
            key='data_root',
            value=name.rpartition('/')[0],
        ) from None


def _index_name(root: str, split: str) -> str:
    return f'{root.rstrip("/")}/{split}.json' if root else f'{split}.json'


def _address(root: str, url: str) -> str:
    scheme, mark, _ = url.partition(':')
    if not mark:
        return url if url.startswith('/') or not root else f'{root.rstrip("/")}/{url}'
    if scheme not in SCHEMES:  # 'pipe:' is a shell command
        raise UserError(
            f'shard url {url}: give a path or an address that begins with {", ".join(SCHEMES)}',
            key='url',
            value=url,
        )
    return url


@DATASETS.register_module()
class ShardSource(Source):
    """Tar shards of ``KEY.jpg`` and ``KEY.cls``, listed in ``data_root/<split>.json``.

    They are streamed from disk or an address (`streams`), and the `webdataset` library groups
    their files to samples. Images are numbered in the order
    of the index, and reading in that order streams: `EpochSampler` gives every worker of every
    rank shards of its own and shuffles shards, and images within a window. Any other order
    works too, by reading a shard again from its start. Labels come from the index. Raises NoData
    when there is no index or it lists no samples, UserError as `read_index`.
    """

    locality = 'shard'

    def __init__(self, data_root: str = '', split: str = 'train', with_label: bool = True) -> None:
        shards = read_index(data_root, split)
        self.urls = [shard['url'] for shard in shards]
        self.shards = [shard['nsamples'] for shard in shards]
        self.ends = np.cumsum(self.shards)
        if not sum(self.shards):
            name = _index_name(data_root, split)
            raise NoData(
                f'{name}: lists no samples; write it again with python '
                'tools/dataset_tools/pack_dataset.py --index SHARDS',
                key='file',
                value=name,
            )
        labels = [label for shard in shards for label in shard.get('labels', ())]
        if with_label and len(labels) == len(self):
            self.labels = labels
            self.classes = numbered(labels)
        self.streams = PerProcess(Streams)

    def __len__(self) -> int:
        return int(self.ends[-1])

    def place(self, i: int) -> tuple[int, int]:
        """Return the shard of image i and its number in it."""
        shard = int(np.searchsorted(self.ends, i, 'right'))
        return shard, i - int(self.ends[shard]) + self.shards[shard]

    def _sample(self, i: int) -> dict[str, Any]:
        shard, at = self.place(i)
        return self.streams().get(self.urls[shard], shard, at)

    def index(self) -> Iterator[Any]:
        """Yield the shards' names and lengths."""
        for url, count in zip(self.urls, self.shards, strict=True):
            yield os.fsencode(f'{url.rpartition("/")[2]}\n{count}\n')

    def key(self, i: int) -> str:
        """Return the sample's key with the image's file extension."""
        sample = self._sample(i)
        self.streams().passed[self.place(i)] = sample  # it was taken, and is about to be read
        return f'{sample["__key__"]}.{self._ending(sample)}'

    def name(self, i: int) -> str:
        """Return the shard's address and the number in it."""
        shard, at = self.place(i)
        return f'{self.urls[shard]}, sample {at}'

    @staticmethod
    def _ending(sample: dict[str, Any]) -> str:
        found = [ending for ending in IMAGES if ending in sample]
        if not found:
            raise ValueError(f'sample {sample["__key__"]} holds no image')
        return found[0]

    def read(self, i: int) -> bytes:
        """Return the image file of the sample."""
        sample = self._sample(i)
        found: bytes = sample[self._ending(sample)]
        return found


def count_shard(path: Path) -> dict[str, Any]:
    """Return url, nsamples and labels of one shard on disk.

    Raises UserError when a label is no number of a class.
    """
    left_out: list[str] = []
    labels: list[Any] = [s.get('cls') for s in samples_of(str(path), left_out)]
    say_left_out(path, left_out)
    entry: dict[str, Any] = dict(url=path.name, nsamples=len(labels))
    if labels and None not in labels:
        try:
            entry['labels'] = [label_number(label.decode().strip()) for label in labels]
        except ValueError as error:
            raise UserError(
                f'{path}: {error}; correct the .cls files', key='file', value=str(path)
            ) from None
    return entry


def write_shard_index(path: Path, entries: list[dict[str, Any]]) -> None:
    """Write an index of shards."""
    index = {'__kind__': 'wids-shard-index-v1', 'wids_version': 1, 'shardlist': entries}
    path.write_text(json.dumps(index) + '\n')
