"""Source of a stream of Hugging Face's library `datasets`: rows in order, never by number."""

import json
import random
from collections.abc import Iterable, Iterator
from itertools import islice, takewhile
from pathlib import Path
from typing import Any

import fsspec

from ...core import UserError
from ...core.errors import NoData, at_least
from ...core.kinds import Count
from ...registry import DATASETS
from ..unreadable_images import replacement_index
from .base import MAX_BYTES, BrokenStream, PerProcess, StreamedSource, read_file
from .columns import file_of_cell, image_column
from .huggingface import is_image, library, loaded, of_split, undecoded

BUFFER = 1000  # rows that are shuffled together
STATE = ('seed', 'epoch', 'streams', 'stream', 'begin', 'round', 'file', 'rows')


def checked_state(text: str) -> dict[str, Any]:
    """Return the state of a stream that a text holds. Raises ValueError where it is none."""
    state = json.loads(text)
    if not isinstance(state, dict) or set(state) != set(STATE):
        raise ValueError(f'no state of a stream, which has {", ".join(STATE)}')
    for key in STATE[:-1]:
        if type(state[key]) is not int or state[key] < 0:
            raise ValueError(f'{key} of a stream is a whole number from 0')
    if not isinstance(state['rows'], (dict, type(None))):
        raise ValueError('rows of a stream is the state of the library, or null')
    return state


class Stream:
    """One of the ``streams`` into which an epoch of a data set is dealt out, open in a process.

    The files (what the library calls shards) come in an order of (seed, epoch, round), every
    ``streams``-th of them to this stream; of fewer files than streams each stream takes every
    ``streams``-th row. After its last row it begins again, as the next round. ``window`` is what
    was read last, up to ``buffer`` rows of a round in an order of (seed, epoch, stream, begin);
    ``begin`` is the position of its first row, and ``state`` the text that leads there.
    """

    def __init__(self, data: Any, buffer: int, at: dict[str, Any]) -> None:
        self.data = data
        self.buffer = buffer
        self.begin: int = at['begin']
        self.identity = {key: at[key] for key in ('seed', 'epoch', 'streams', 'stream')}
        self.place: dict[str, Any] = {key: at[key] for key in ('round', 'file', 'rows')}
        self.window: list[Any] = []
        self.rows = self._rows(dict(self.place))
        self.state = ''

    def advance(self) -> None:
        """Read the next window."""
        self.begin += len(self.window)
        self.state = json.dumps(dict(self.identity, begin=self.begin, **self.place))
        self.window = []
        while not self.window:  # a round may end where the window before has
            in_round = takewhile(lambda row: row is not None, self.rows)
            self.window = list(islice(in_round, self.buffer))
        key = '-'.join(str(value) for value in (*self.identity.values(), self.begin))
        random.Random(f'window-{key}').shuffle(self.window)

    def _files(self, number: int) -> list[int]:
        """Return this stream's files of a round, in their order."""
        seed, epoch = self.identity['seed'], self.identity['epoch']
        count, streams = self.data.num_shards, self.identity['streams']
        files = list(range(count))
        random.Random(f'files-{seed}-{epoch}-{number}').shuffle(files)
        return files[self.identity['stream'] :: streams] if count >= streams else files

    def _of_file(self, file: int) -> Any:
        part = self.data.shard(self.data.num_shards, file)
        streams = self.identity['streams']
        if self.data.num_shards < streams:
            from datasets.distributed import split_dataset_by_node

            part = split_dataset_by_node(part, self.identity['stream'], streams)
        return part

    def _rows(self, place: dict[str, Any]) -> Iterator[Any]:
        """Yield rows without end from a place on, and None after each round.

        `place` of the stream is where the next row begins. Raises BrokenStream when a round has no
        rows.
        """
        while True:
            found = place['rows'] is not None
            files = self._files(place['round'])
            for at in range(place['file'], len(files)):
                part = self._of_file(files[at])
                if place['rows'] is not None:
                    part.load_state_dict(place['rows'])
                    place['rows'] = None
                # `iter` of a batch: iteration itself would deal rows out to the workers once more
                for batch in part.iter(batch_size=1):
                    found = True
                    self.place = dict(round=place['round'], file=at, rows=part.state_dict())
                    yield {column: values[0] for column, values in batch.items()}
            if not found and place['file'] == 0:
                number, streams = self.identity['stream'], self.identity['streams']
                raise BrokenStream(
                    f'no rows for stream {number} of {streams}; give a data set with rows, or '
                    'fewer workers',
                    value=number,
                )
            place = dict(round=place['round'] + 1, file=0, rows=None)
            self.place = dict(place)
            yield None


class OpenStreams:
    """The open streams of a process, all of one epoch."""

    def __init__(self) -> None:
        self.epoch: tuple[int, ...] = ()
        self.streams: dict[int, Stream] = {}

    def of_epoch(self, *epoch: int) -> dict[int, Stream]:
        """Return the open streams by number; those of another epoch are closed."""
        if epoch != self.epoch:
            self.streams = {}
            self.epoch = epoch
        return self.streams


@DATASETS.register_module()
class HuggingFaceStream(StreamedSource):
    """Images of `HuggingFaceSource`, streamed: nothing is stored, and no row is read by number.

    For pretraining alone; an image has no label. An epoch has ``length`` images, by default those
    that the data set says it has; a stream that ends before begins again. The rows are dealt out
    to as many streams as there are workers of all processes (`Stream`), and ``buffer`` rows at a
    time are shuffled, so that image i = position * streams + stream is a place in an order of
    (seed, epoch) and of the number of streams. `state` tells where the library stands, with which
    a resumed run finds that place again without reading the files before it. ``name``, ``image``
    and ``args`` are those of `HuggingFaceSource`. Raises as that does, and UserError when there is
    no length.
    """

    unlabelled = 'a stream is read for pretraining, without its labels'

    def __init__(
        self,
        data_root: str = '',
        split: str = '',
        with_label: bool = False,
        *,
        name: str = '',
        image: str = '',
        length: Count | None = None,
        buffer: Count = BUFFER,
        args: dict[str, Any] | None = None,
    ) -> None:
        datasets = library(type(self).__name__)
        self.where = name or str(Path(data_root))
        self.split = split
        self.buffer = at_least('dataset.source.buffer', buffer)
        found = loaded(datasets, name, Path(data_root), dict(args or {}, streaming=True))
        data = of_split(found, split, self.where)
        self.length = at_least('dataset.source.length', self._length(data, length))
        self.image = image_column(image, _image_columns(datasets, data, self.where), self.where)
        self.data = undecoded(datasets, data, self.image)
        self.streams = 1
        self.order = (0, 0)
        self.saved: list[dict[str, Any]] = []
        self.opened = PerProcess(OpenStreams)

    def _length(self, data: Any, asked: int | None) -> int:
        if asked is not None:
            return asked
        splits = data.info.splits or {}
        entry = splits.get(self.split) or splits.get(str(data.split))
        if entry is None or not entry.num_examples:
            raise UserError(
                f'{self.where}: a stream does not tell how many images it has; give the images of '
                'an epoch as dataset.source.length',
                key='dataset.source.length',
                value=None,
            )
        return int(entry.num_examples)

    def __len__(self) -> int:
        return self.length

    def set_order(self, seed: int, epoch: int) -> None:
        """Set the seed and the epoch, which decide the order of the rows."""
        self.order = (seed, epoch)

    def resume(self, states: Iterable[str]) -> None:
        """Take the states (`state`) of streams, to go on from. Raises ValueError for other text."""
        self.saved = [checked_state(text) for text in states]

    def index(self) -> Iterator[Any]:
        """Yield address, split, column and number of files."""
        yield f'{self.where}\n{self.split}\n{self.image}\n{self.data.num_shards}\n'.encode()

    def name(self, i: int) -> str:
        """Return the data set with the place in the order of an epoch."""
        position, stream = divmod(i, self.streams)
        return f'{self.where}, item {position} of stream {stream} in epoch {self.order[1]}'

    def _stream(self, i: int) -> tuple[Stream, int]:
        """Return the stream of image i, its window around the image, and the place in that."""
        position, number = divmod(i, self.streams)
        opened = self.opened().of_epoch(*self.order)
        stream = opened.get(number)
        try:
            if stream is None or position < stream.begin:
                stream = opened[number] = Stream(self.data, self.buffer, self._start(i))
            while position >= stream.begin + len(stream.window):
                stream.advance()
        except BrokenStream as error:
            raise BrokenStream(f'{self.name(i)}: {error}', value=self.where) from None
        except Exception as error:  # of the network, and of files of every kind
            opened.pop(number, None)
            cause = ' '.join(str(error).split())[:300] or type(error).__name__
            raise BrokenStream(
                f'{self.name(i)}: the stream breaks off ({type(error).__name__}: {cause}); look at '
                'the network and the data set, then continue with --resume',
                value=self.where,
            ) from None
        return stream, position - stream.begin

    def _start(self, i: int) -> dict[str, Any]:
        """Return the last known state of the stream of image i before it, or its beginning."""
        position, number = divmod(i, self.streams)
        seed, epoch = self.order
        here = dict(seed=seed, epoch=epoch, streams=self.streams, stream=number)
        start = dict(here, begin=0, round=0, file=0, rows=None)
        for state in self.saved:
            same = all(state[key] == value for key, value in here.items())
            if same and start['begin'] <= state['begin'] <= position:
                start = state
        return start

    def state(self, i: int) -> str:
        """Return, of the first image of a window, where that begins, as text; of others ''."""
        stream, at = self._stream(i)
        return '' if at else stream.state

    def replacement(self, i: int, seed: str) -> int:
        """Return the image that takes the place of image i: another one of its window."""
        stream, at = self._stream(i)
        other = replacement_index(seed, len(stream.window))
        return i + (other - at) * self.streams

    def read(self, i: int) -> bytes:
        """Return the image file of a row. Raises BrokenStream when the stream cannot go on."""
        stream, at = self._stream(i)
        cell = stream.window[at][self.image]
        if isinstance(cell, dict) and cell.get('bytes') is None and cell.get('path'):
            return _file_at(cell['path'])
        return file_of_cell(cell)


def _image_columns(datasets: Any, data: Any, where: str) -> dict[str, bool]:
    """Return which columns can hold image files; by the first row where no types are known."""
    if data.features:
        return {key: is_image(datasets, kind) for key, kind in data.features.items()}
    first = next(iter(data.take(1)), None)
    if first is None:
        raise NoData(f'{where}: the stream has no rows', key='dataset.split', value=where)
    return {
        key: isinstance(value, (bytes, dict)) and (isinstance(value, bytes) or 'bytes' in value)
        for key, value in first.items()
    }


def _file_at(path: str) -> bytes:
    """Return the bytes of a file on disk or at an address of fsspec's, at most `MAX_BYTES`."""
    if '://' not in path:
        return read_file(Path(path))
    with fsspec.open(path, 'rb') as file:
        content: bytes = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise ValueError(f'more than {MAX_BYTES} bytes')
    return content
