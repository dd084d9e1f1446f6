"""Measure every image of a data set: size, mode, hashes, mean and std; restartable, in parallel."""

import base64
import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from multiprocessing import Pool
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..core import UserError
from ..datasets import ImageDataset
from ..datasets.channel_image import ChannelImage
from ..datasets.image_formats import PNG_SIGN, opened
from ..datasets.sources import UnreadableImage
from ..datasets.transforms.load_image import LoadImage

CHUNK = 64  # images a worker takes at once
SIDE = 32  # pixels of the grey image that is hashed
LOW = 8  # frequencies a side that the hash keeps
FLAT = 2.0  # standard deviation of grey levels, of 255, below which an image is one colour
ROW = np.dtype(
    [
        ('readable', np.bool_),
        ('flat', np.bool_),
        ('width', np.int32),
        ('height', np.int32),
        ('mode', 'S16'),
        ('bytes', np.int64),
        ('digest', np.uint64),
        ('look', np.uint64),
    ]
)

_images: ImageDataset  # a worker's own
_load: LoadImage


@dataclass
class Measurements:
    """What was measured of N images.

    ``rows`` (N,) of `ROW`: ``digest`` is a hash of the file, ``look`` the perceptual hash.
    ``unreadable`` are (index, cause). ``sums`` has for each number of channels the number of
    images, and of each channel the sums of means and of means of squares, as shares of 1.
    """

    rows: NDArray[Any]
    unreadable: list[tuple[int, str]] = field(default_factory=list)
    sums: dict[int, tuple[int, NDArray[Any], NDArray[Any]]] = field(default_factory=dict)

    def mean_and_std(self) -> tuple[list[float], list[float]]:
        """Return mean and std of each channel of the most frequent number of channels.

        Each image counts as much as any other, as it does in training; [] without images.
        """
        if not self.sums:
            return [], []
        count, first, second = max(self.sums.values(), key=lambda entry: entry[0])
        mean = first / count
        return mean.tolist(), np.sqrt((second / count - mean**2).clip(0)).tolist()


def chunks(images: ImageDataset) -> list[range]:
    """Cut the indices into runs: shards whole, as they are read from their beginning.

    Raises UserError for a stream.
    """
    if images.reads_stream:
        kind = type(images.source).__name__
        raise UserError(
            f'dataset.source.type={kind}: a stream is not read by number; measure it by '
            'HuggingFaceSource or ParquetSource',
            key='dataset.source.type',
            value=kind,
        )
    if images.locality == 'shard':
        ends = [int(end) for end in images.source.ends]
    else:
        ends = [*range(CHUNK, len(images), CHUNK), len(images)]
    begins = [0, *ends[:-1]]
    return [range(begin, end) for begin, end in zip(begins, ends, strict=True)]


# one image ------------------------------------------------------------------------------------
def perceptual_hash(pixels: NDArray[Any]) -> tuple[int, bool]:
    """Return a hash of 64 bits that resized and recompressed copies share, and whether it is flat.

    Which of the lowest 8 x 8 frequencies of the grey image lie above their median (pHash). pixels
    (H, W, C), uint8 or uint16. Images of one colour have frequencies of noise alone.
    """
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY) if pixels.shape[2] == 3 else pixels.mean(2)
    grey = grey.astype(np.float32) / (257 if pixels.dtype == np.uint16 else 1)
    small = cv2.resize(grey, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    low = cv2.dct(small)[:LOW, :LOW].flatten()
    low[0] = np.median(low[1:])  # the mean of the image says nothing of its look
    bits = np.packbits(low > low[0])
    return int.from_bytes(bits.tobytes(), 'big'), bool(small.std() < FLAT)


def _mode(content: bytes, image: Any) -> str:
    """Return how the file keeps colours, such as 'RGB' or 'I;16', and 16 bits where it has them."""
    if isinstance(image, ChannelImage):
        deep = ' 16' if image.array.dtype == np.uint16 else ''
        return f'{image.channels} channels{deep}'
    try:
        with opened(content) as file:
            hidden = content.startswith(PNG_SIGN) and content[24] == 16 and file.mode != 'I;16'
            return f'{file.mode} 16' if hidden else file.mode
    except ValueError:
        return 'RGB'  # of a format that was asked for beyond the list


def _measured(content: bytes, image: Any) -> tuple[tuple[Any, ...], NDArray[Any], NDArray[Any]]:
    """Return a row of `ROW`, and of each channel (C,) the mean and the mean square."""
    pixels = image.pixels()
    look, flat = perceptual_hash(pixels)
    highest = 65535 if pixels.dtype == np.uint16 else 255
    if pixels.shape[2] <= 4:  # OpenCV's limit
        mean, std = (part[:, 0] / highest for part in cv2.meanStdDev(pixels))
    else:
        flattened = pixels.reshape(-1, pixels.shape[2])
        mean, std = flattened.mean(0) / highest, flattened.std(0) / highest
    digest = int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), 'big')
    size = (image.width, image.height)
    mode = _mode(content, image).encode()
    return (True, flat, *size, mode, len(content), digest, look), mean, std**2 + mean**2


# all images -----------------------------------------------------------------------------------
def start_worker(images: ImageDataset, load: LoadImage) -> None:
    """Give a worker its data set and the transform that reads an image."""
    global _images, _load
    _images = images
    _load = load
    cv2.setNumThreads(0)


def measure_run(run: range) -> dict[str, Any]:
    """Return what is measured of a run of images, as plain data."""
    rows = np.zeros(len(run), ROW)
    unreadable = []
    sums: dict[int, list[Any]] = {}
    for place, i in enumerate(run):
        try:
            content = _images.read(i)
            image = _load(dict(path=_images.name(i), bytes=content))['image']
            rows[place], mean, square = _measured(content, image)
        except UnreadableImage as error:
            unreadable.append((i, str(error)))
            continue
        entry = sums.setdefault(len(mean), [0, np.zeros(len(mean)), np.zeros(len(mean))])
        entry[0] += 1
        entry[1] += mean
        entry[2] += square
    return dict(
        begin=run.start,
        rows=base64.b64encode(rows.tobytes()).decode(),
        unreadable=unreadable,
        sums=[[n, first.tolist(), second.tolist()] for n, first, second in sums.values()],
    )


class Log:
    """A file with a line for each run that was measured; a restart reads it and goes on.

    Its first line is about the data: of others, or another format, nothing is taken.
    """

    def __init__(self, path: Path, about: dict[str, Any]) -> None:
        self.path = path
        self.about = dict(about, row=str(ROW))
        self.done: set[int] = set()  # first images of the runs; all else stays in the file
        kept = self._kept() if path.is_file() else 0
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open('ab') as file:
            file.truncate(kept)  # what a stop left of a line, or all of other data
        if not kept:
            self._write(self.about)

    def _kept(self) -> int:
        """Return the bytes of the lines that are whole, 0 for other data; note their runs."""
        kept = 0
        with self.path.open('rb') as file:
            for number, line in enumerate(file):
                try:
                    entry = json.loads(line)
                except ValueError:
                    break
                if not line.endswith(b'\n') or (number == 0 and entry != self.about):
                    break
                if number:
                    self.done.add(entry['begin'])
                kept += len(line)
        return kept

    def _write(self, entry: dict[str, Any]) -> None:
        with self.path.open('a', encoding='utf-8', errors='surrogateescape') as file:
            file.write(json.dumps(entry) + '\n')

    def add(self, entry: dict[str, Any]) -> None:
        """Write down a run."""
        self._write(entry)
        self.done.add(entry['begin'])

    def runs(self) -> Iterator[dict[str, Any]]:
        """Yield what was written of each run, in the order of the images."""
        with self.path.open('rb') as file:
            next(file)
            yield from map(json.loads, file)


def _runs(
    images: ImageDataset, load: LoadImage, missing: list[range], workers: int
) -> Iterator[dict[str, Any]]:
    if workers <= 1:
        start_worker(images, load)
        yield from map(measure_run, missing)
        return
    with Pool(workers, start_worker, (images, load)) as pool:
        yield from pool.imap(measure_run, missing)


def measure(
    images: ImageDataset,
    load: LoadImage,
    log: Path,
    workers: int = 1,
    progress: Callable[[int, list[str]], None] = lambda *_: None,
) -> Measurements:
    """Measure the images of a data set that ``load`` reads, going on where ``log`` ends.

    ``progress`` is told how many images more are done, and the reports of those that are
    unreadable. Memory holds `ROW` for each image, 50 bytes.
    """
    settings = (load.channels, load.value_range, load.max_pixels, load.formats)
    written = Log(log, dict(data=images.index_digests(), load=repr(settings)))
    for entry in written.runs():
        progress(len(_rows_of(entry)), _reports(entry))
    missing = [run for run in chunks(images) if run.start not in written.done]
    for entry in _runs(images, load, missing, workers):
        written.add(entry)
        progress(len(_rows_of(entry)), _reports(entry))
    return _joined(written, len(images))


def _rows_of(entry: dict[str, Any]) -> NDArray[Any]:
    return np.frombuffer(base64.b64decode(entry['rows']), ROW)


def _reports(entry: dict[str, Any]) -> list[str]:
    return [report for _, report in entry['unreadable']]


def _joined(log: Log, count: int) -> Measurements:
    found = Measurements(np.zeros(count, ROW))
    for entry in log.runs():  # in one order: sums do not depend on workers
        rows = _rows_of(entry)
        found.rows[entry['begin'] : entry['begin'] + len(rows)] = rows
        found.unreadable += [(i, report) for i, report in entry['unreadable']]
        for n, first, second in entry['sums']:
            before = found.sums.get(len(first), (0, 0.0, 0.0))
            found.sums[len(first)] = (
                before[0] + n,
                before[1] + np.array(first),
                before[2] + np.array(second),
            )
    return found
