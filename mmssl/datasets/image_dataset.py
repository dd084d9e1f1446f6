"""ImageDataset: images of a source and the pipeline that makes an item of each.

It replaces unreadable images by others and seeds the random numbers of each item.
"""

import hashlib
import os
import random
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset, get_worker_info

from ..core import UserError
from ..core.errors import NoData
from ..registry import DATASETS, TRANSFORMS
from .sources import BrokenStream, Source, StreamedSource, UnreadableImage, is_listed
from .transforms.load_image import LoadImage
from .unreadable_images import TRIES, replacement_index, replacement_seed
from .view_seed import view_seed

WORKERS = 256  # whose place `reading` keeps


def _file_source(
    data_root: str, split: str, ann_file: str | None, subset: str | None
) -> dict[str, Any]:
    """Return the config of the source for files on disk: a list of them, or folders."""
    if ann_file and subset:
        raise UserError(
            f"dataset.ann_file='{ann_file}' and dataset.subset='{subset}' both list images; give "
            'one of them',
            key='dataset.ann_file',
            value=ann_file,
        )
    if ann_file:
        return dict(type='ListSource', ann_file=ann_file)
    if subset:
        return dict(type='FolderSource', subset=subset)
    return dict(type='ListSource' if is_listed(data_root, split) else 'FolderSource')


def _check_selection(share: Any, per_class: Any) -> None:
    """Check the part of a data set that is asked for. Raises UserError when it is none."""
    pair = isinstance(share, (tuple, list)) and len(share) == 2
    numbers = pair and all(type(s) in (int, float) for s in share)
    if not numbers or not 0 <= share[0] < share[1] <= 1:
        raise UserError(
            f'dataset.share={share}: give (from, to) with 0 <= from < to <= 1',
            key='dataset.share',
            value=share,
        )
    if per_class is not None and (type(per_class) is not int or per_class < 1):
        raise UserError(
            f'dataset.per_class={per_class}: give the number of images of each class, at least 1, '
            'or None for all',
            key='dataset.per_class',
            value=per_class,
        )


@DATASETS.register_module()
class ImageDataset(Dataset[dict[str, Any]]):
    """Images of one storage; an item is what ``pipeline`` makes of one image.

    ``source`` is the config of the storage (see ``mmssl/datasets/sources``). Without it images are
    files: class folders, one flat folder, the files listed in ``ann_file`` or in OpenMMLab's
    ``meta/<split>.txt``, or those of the class folders that ``subset`` lists. ``data_root``,
    ``split`` and ``with_label`` go to the source. ``share`` keeps a seeded part of each class,
    (0, 0.1) the first tenth; ``per_class`` keeps at most that many images of each class. Two data
    sets with shares (0, 0.8) and (0.8, 1) have no image in common.

    Items are addressed by index, (epoch, index) or (epoch, index, repeat): all randomness of an
    item comes from a generator seeded by (seed, epoch, index, repeat), so it does not depend on
    workers or ranks; a sampler that repeats images counts them by ``repeat``. An index
    alone means the epoch of `set_epoch`, which a runner calls with any sampler; before the first
    call each access draws a new seed from torch's generator. An image that cannot be read is
    replaced by another, drawn from the same numbers; ``unreadable`` among the item's
    data_samples then says which and why. Raises NoData when there are no images, UserError when
    ``share`` or ``per_class`` is out of range, more than one of source, ann_file and subset is
    given, or a transform does not take images of LoadImage(channels=).
    """

    takes_epoch = True

    def __init__(
        self,
        data_root: str = '',
        split: str = '',
        *,
        pipeline: Sequence[dict[str, Any]] = (),
        ann_file: str | None = '',
        subset: str | None = '',
        source: dict[str, Any] | None = None,
        share: tuple[float, float] = (0.0, 1.0),
        per_class: int | None = None,
        seed: int = 0,
        with_label: bool = True,
    ) -> None:
        common = dict(data_root=data_root, split=split, with_label=with_label)
        if source is None:
            source = _file_source(data_root, split, ann_file, subset)
        elif ann_file or subset:
            name = 'ann_file' if ann_file else 'subset'
            raise UserError(
                f"dataset.{name}='{ann_file or subset}': give it within dataset.source, which "
                f'names the storage (dataset.source.{name})',
                key=f'dataset.{name}',
                value=ann_file or subset,
            )
        self.source: Source = DATASETS.build({**common, **source})
        self.root = data_root
        self.split = split
        self.seed = seed
        self.classes = self.source.classes
        self.indices = self._select(share, per_class)  # (N,) places in the source
        labels = self.source.labels
        self.labels = [labels[i] for i in self.indices.tolist()] if len(labels) else []
        self.pipeline = pipeline  # as settings, for records
        self.transforms = [TRANSFORMS.build(t) for t in pipeline]
        self._check_channels()
        # process and image of each worker, and since when (ns, 0: it is done), so that what one
        # that dies or stays silent has read can be named
        self.reading = torch.zeros(WORKERS, 3, dtype=torch.int64).share_memory_()
        # shared with workers that outlive an epoch; below 0: not told
        self._epoch = torch.full((1,), -1).share_memory_()

    def _select(self, share: Sequence[float], per_class: int | None) -> NDArray[Any]:
        """Return the places (N,) of the images that share and per_class select, ascending."""
        _check_selection(share, per_class)
        total = len(self.source)
        if tuple(share) == (0, 1) and per_class is None:
            return np.arange(total)
        if isinstance(self.source, StreamedSource):
            key, value = ('share', share) if per_class is None else ('per_class', per_class)
            raise UserError(
                f'dataset.{key}={value}: images of a stream come in its order, and none is chosen; '
                'leave it out, or read the data set by number (HuggingFaceSource, ParquetSource)',
                key=f'dataset.{key}',
                value=value,
            )
        groups: dict[int, list[int]] = {}
        for i, label in enumerate(self.source.labels or [0] * total):
            groups.setdefault(label, []).append(i)
        selected: list[int] = []
        for label, members in sorted(groups.items()):
            random.Random(f'split-{label}').shuffle(members)
            begin, end = (round(s * len(members)) for s in share)
            selected += members[begin:end][:per_class]
        if not selected:
            raise NoData(
                f'{self.root}: dataset.share={share} with per_class={per_class} leaves no image '
                f'of {total}; use more of them',
                key='dataset.share',
                value=share,
            )
        return np.array(sorted(selected))

    def _check_channels(self) -> None:
        """Ask each transform whether it takes the images that LoadImage(channels=) keeps."""
        for load in self.transforms:
            if isinstance(load, LoadImage) and load.channels is not None:
                for transform in self.transforms:
                    # a transform of one's own need not know
                    check = getattr(transform, 'check_channels', None)
                    if check is not None:
                        check(load.channels, load.value_range is not None)

    def renumber(self, classes: tuple[str, ...], numbers: Mapping[int, int]) -> None:
        """Replace the class names, and each label by the number that ``numbers`` has for it."""
        self.classes = self.source.classes = classes
        self.source.labels = [numbers.get(label, label) for label in self.source.labels]
        self.labels = [numbers.get(label, label) for label in self.labels]

    @property
    def metainfo(self) -> dict[str, Any]:
        """The class names, for logs and predictions."""
        return dict(classes=self.classes)

    @property
    def locality(self) -> str | None:
        """`Source.locality` of the source; None for a part of its images."""
        return self.source.locality if len(self) == len(self.source) else None

    @property
    def repeat_factors(self) -> NDArray[Any] | None:
        """How often each image (N,) comes in an epoch of training, on average; None: once."""
        factors = self.source.repeat_factors
        return None if factors is None else factors[self.indices]

    @property
    def epoch_length(self) -> int:
        """How many images an epoch of training reads."""
        factors = self.repeat_factors
        return len(self) if factors is None else round(float(factors.sum()))

    def describe(self) -> str:
        """Return one line with the numbers of images and classes."""
        epoch = '' if self.repeat_factors is None else f', {self.epoch_length} in an epoch'
        if not self.labels:
            why = f' ({self.source.unlabelled})' if self.source.unlabelled else ''
            return f'{len(self)} images without labels{why}{epoch}'
        return f'{len(self)} images of {len(Counter(self.labels))} classes{epoch}'

    def index_digests(self) -> dict[str, int | str]:
        """Return the numbers of images and classes, and hashes of names and labels in order."""
        names = hashlib.sha256(self.indices.tobytes())
        for part in self.source.index():
            names.update(part)
        labels = hashlib.sha256(np.asarray(self.labels).tobytes())
        return dict(
            images=len(self),
            classes=len(self.classes),
            names=names.hexdigest()[:16],
            labels=labels.hexdigest()[:16],
        )

    def name(self, index: int) -> str:
        """Return the path or address by which a user finds an image."""
        return self.source.name(int(self.indices[index]))

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch that an index alone means, in this process and in running workers."""
        self._epoch.fill_(epoch)

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def reads_stream(self) -> bool:
        """Whether images come in the order of a stream."""
        return isinstance(self.source, StreamedSource)

    def resume_stream(self, states: Sequence[str]) -> None:
        """Take the states of streams that items had. Raises ValueError for other text."""
        if isinstance(self.source, StreamedSource):
            self.source.resume(states)

    def read(self, index: int) -> bytes:
        """Return the bytes of an image file. Raises UnreadableImage when it cannot be read."""
        place = int(self.indices[index])
        try:
            content = self.source.read(place)
        except BrokenStream:
            raise
        except Exception as error:  # each storage has failures of its own
            cause = str(error) if isinstance(error, ValueError) else repr(error)
            if isinstance(error, FileNotFoundError):
                cause = 'no such file'
            raise UnreadableImage(f'{self.name(index)}: {cause}') from None
        if not content:
            raise UnreadableImage(f'{self.name(index)}: empty')
        return content

    def __getitem__(self, at: int | tuple[int, ...]) -> dict[str, Any]:
        """Return {'inputs': ..., 'data_samples': {...}} of one image, or of another in its place.

        Raises UnreadableImage when `TRIES` images in a row could not be read, BrokenStream when a
        stream cannot go on.
        """
        epoch, index, *repeat = at if isinstance(at, tuple) else (int(self._epoch), at)
        first = seed = view_seed(self.seed, None if epoch < 0 else epoch, index, *repeat)
        epoch = max(epoch, 0)
        if isinstance(self.source, StreamedSource):
            self.source.set_order(self.seed, epoch)
        reports: list[str] = []
        chosen = index
        while True:
            try:
                return self._make(chosen, index, epoch, seed, reports)
            except UnreadableImage as error:
                reports.append(str(error))
            if len(reports) == TRIES:
                raise UnreadableImage(
                    f'{TRIES} images in a row could not be read: {"; ".join(reports)}'
                )
            seed = replacement_seed(first, len(reports))
            chosen = self._replacement(index, seed)

    def _replacement(self, index: int, seed: str) -> int:
        if isinstance(self.source, StreamedSource):
            return self.source.replacement(index, seed)
        return replacement_index(seed, len(self))

    def _make(
        self, chosen: int, index: int, epoch: int, seed: str, reports: list[str]
    ) -> dict[str, Any]:
        self._note(chosen)
        item: dict[str, Any] = dict(
            path=self.name(chosen),
            bytes=self.read(chosen),
            index=index,
            epoch=epoch,
            rng=random.Random(seed),
            unreadable='\n'.join(reports),
        )
        if isinstance(self.source, StreamedSource):
            item['stream'] = self.source.state(index)
        target = self.source.target(int(self.indices[chosen])) if self.classes else None
        if target is not None:
            item['label'] = target
        item = self._transformed(item)
        self._note(chosen, done=True)
        return item

    def _transformed(self, item: dict[str, Any]) -> dict[str, Any]:
        for transform in self.transforms:
            try:
                item = transform(item)
            except KeyError as error:
                if error.args != ('image',):
                    raise
                kind = type(transform).__name__
                raise UserError(
                    f'dataset.pipeline: {kind} finds no image: LoadImage goes before it, and one '
                    'transform alone makes views of it',
                    key='dataset.pipeline',
                    value=kind,
                ) from None
        return item

    def _note(self, index: int, done: bool = False) -> None:
        worker = get_worker_info()
        if worker is not None and worker.id < WORKERS:
            since = 0 if done else time.monotonic_ns()
            self.reading[worker.id] = torch.tensor((os.getpid(), index, since))

    def read_by(self, pid: int) -> str | None:
        """Return the name of the image that worker process ``pid`` read last, or None."""
        for process, index, _ in self.reading.tolist():
            if process == pid:
                return self.name(index)
        return None

    def reads(self) -> list[tuple[int, str, float]]:
        """Return (process, image, seconds since it began) of the workers that read, oldest first.

        Of those that have ended by a kill it may be the last one they began.
        """
        now = time.monotonic_ns()
        rows = sorted((row for row in self.reading.tolist() if row[2]), key=lambda row: row[2])
        return [(pid, self.name(index), (now - since) / 1e9) for pid, index, since in rows]
