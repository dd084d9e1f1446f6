"""Source of several sources: their images one after the other, and how often each comes."""

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ...core import UserError
from ...registry import DATASETS
from ..notices import say_once, some
from .base import Source, StreamedSource, numbered


class SelectedSource(Source):
    """The images that an ImageDataset selects from its source, as a source."""

    def __init__(self, images: Any) -> None:
        self.source: Source = images.source
        self.indices = images.indices
        self.labels = images.labels
        self.classes = images.classes
        self.unlabelled = self.source.unlabelled
        self.repeat_factors = images.repeat_factors

    def __len__(self) -> int:
        return len(self.indices)

    def index(self) -> Iterator[Any]:
        """Yield the source's index and the places selected from it."""
        yield from self.source.index()
        yield self.indices

    def key(self, i: int) -> str:
        """Return the source's key."""
        return self.source.key(int(self.indices[i]))

    def name(self, i: int) -> str:
        """Return the source's name of the image."""
        return self.source.name(int(self.indices[i]))

    def read(self, i: int) -> bytes:
        """Return the image file."""
        return self.source.read(int(self.indices[i]))


def _has_own_targets(source: Source) -> bool:
    """Whether targets of a source are others than its labels: masks, several labels."""
    inner = source.source if isinstance(source, SelectedSource) else source
    return bool(source.classes) and type(inner).target is not Source.target


def class_repeat_factors(labels: Sequence[int], threshold: float) -> NDArray[Any]:
    """Return how often images (N,) come for class balance: max(1, sqrt(threshold / frequency)).

    The frequency is that of the image's class. Gupta et al., CVPR 2019 (LVIS), sec. 3.5.
    """
    counts = Counter(labels)
    factors = {
        label: max(1.0, (threshold * len(labels) / count) ** 0.5) for label, count in counts.items()
    }
    return np.array([factors[label] for label in labels])


def _check_numbers(name: str, values: Any, count: int) -> NDArray[Any]:
    """Return numbers above 0, one for each source. Raises UserError for others."""
    numbers = isinstance(values, (list, tuple)) and all(
        isinstance(v, (int, float)) and not isinstance(v, bool) and 0 < v < float('inf')
        for v in values
    )
    if not numbers or len(values) != count:
        raise UserError(
            f'dataset.source.{name}={values!r}: give a number above 0 for each of {count} sources',
            key=f'dataset.source.{name}',
            value=values,
        )
    return np.array(values, np.float64)


@DATASETS.register_module()
class ConcatSource(Source):
    """Images of ``sources``, one after the other.

    They are configs of sources or, by default, of an ImageDataset. ``data_root``, ``split`` and
    ``with_label`` are the defaults of each. ``labels``: 'keep' numbers that mean the same classes
    in all, whose names are the same where they are known; 'offset' counts the classes of each
    source after those of the sources before it; 'drop' has none. How often an image comes in an
    epoch of training (`EpochSampler`): ``repeats`` is a number for each source; ``weights`` are the
    shares of the sources in an epoch of as many images as there are; ``balance`` is the frequency
    below which a class comes more often (`class_repeat_factors`). They may be fractions: each epoch
    rounds anew. Raises UserError where classes cannot be joined, for both ``repeats`` and
    ``weights``, and for numbers that are not above 0.
    """

    def __init__(
        self,
        data_root: str = '',
        split: str = '',
        with_label: bool = True,
        *,
        sources: Sequence[dict[str, Any]],
        labels: Literal['keep', 'offset', 'drop'] = 'keep',
        repeats: Sequence[float] | None = None,
        weights: Sequence[float] | None = None,
        balance: float | None = None,
    ) -> None:
        if not sources:
            raise UserError(
                'dataset.source.sources: give at least one source, dict(type=...)',
                key='dataset.source.sources',
                value=sources,
            )
        common = dict(type='ImageDataset', data_root=data_root, split=split, with_label=with_label)
        self.parts = [_as_source(DATASETS.build({**common, **source})) for source in sources]
        self.part_ends = np.cumsum([len(part) for part in self.parts])
        if with_label and labels != 'drop':
            self._join_labels(labels)
        self.repeat_factors = self._factors(repeats, weights, balance)
        self._join_shards()

    def _join_labels(self, how: str) -> None:
        special = [i for i, part in enumerate(self.parts) if _has_own_targets(part)]
        if special:
            raise UserError(
                f"dataset.source.labels='{how}': source {special[0]} has masks or several labels "
                "for an image, which are not joined; use 'drop'",
                key='dataset.source.labels',
                value=how,
            )
        bare = [i for i, part in enumerate(self.parts) if not len(part.labels)]
        if bare:
            why = self.parts[bare[0]].unlabelled
            self.unlabelled = f'source {bare[0]} has no labels' + (f': {why}' if why else '')
            return
        offsets = [0] * len(self.parts)
        if how == 'keep':
            self.classes = self._common_classes()
        else:
            counts = [len(part.classes) for part in self.parts]
            offsets = [0, *np.cumsum(counts)[:-1].tolist()]
            self.classes = self._all_classes()
        self.labels = [
            label + offset
            for part, offset in zip(self.parts, offsets, strict=True)
            for label in part.labels
        ]

    def _common_classes(self) -> tuple[str, ...]:
        """Return the classes of all sources. Raises UserError where they are not the same."""
        named = [part.classes for part in self.parts if not _are_numbers(part.classes)]
        classes = named[0] if named else max((part.classes for part in self.parts), key=len)
        for i, part in enumerate(self.parts):
            fewer = _are_numbers(part.classes) and len(part.classes) <= len(classes)
            if part.classes != classes and not fewer:
                raise UserError(
                    f"dataset.source.labels='keep': source {i} has {len(part.classes)} classes "
                    f'({some(list(part.classes))}), another one {len(classes)} '
                    f"({some(list(classes))}); use 'offset' to have them side by side, or 'drop'",
                    key='dataset.source.labels',
                    value='keep',
                )
        return classes

    def _all_classes(self) -> tuple[str, ...]:
        """Return the classes of all sources side by side; equal names get their source's number."""
        counts = Counter(name for part in self.parts for name in part.classes)
        return tuple(
            name if counts[name] == 1 else f'{i}.{name}'
            for i, part in enumerate(self.parts)
            for name in part.classes
        )

    def _factors(
        self,
        repeats: Sequence[float] | None,
        weights: Sequence[float] | None,
        balance: float | None,
    ) -> NDArray[Any] | None:
        """Return how often each image (N,) comes in an epoch on average, None for once each."""
        counts = [len(part) for part in self.parts]
        own = [part.repeat_factors for part in self.parts]
        if repeats is not None and weights is not None:
            raise UserError(
                f'dataset.source.weights={weights} and repeats={repeats} both say how often '
                'images come; give one of them',
                key='dataset.source.weights',
                value=weights,
            )
        if repeats is None and weights is None and balance is None and not any_given(own):
            return None
        factors = np.concatenate(
            [
                np.ones(count) if found is None else found
                for count, found in zip(counts, own, strict=True)
            ]
        )
        if balance is not None:
            factors = factors * self._balance(balance)
        if repeats is not None:
            factors = factors * np.repeat(_check_numbers('repeats', repeats, len(counts)), counts)
        if weights is not None:
            shares = _check_numbers('weights', weights, len(counts))
            now = np.add.reduceat(factors, [0, *self.part_ends[:-1]])
            factors = factors * np.repeat(sum(counts) * shares / shares.sum() / now, counts)
        result: NDArray[Any] | None = factors
        return result

    def _balance(self, threshold: float) -> NDArray[Any]:
        if not 0 < threshold <= 1:
            raise UserError(
                f'dataset.source.balance={threshold}: give the frequency below which a class '
                'comes more often, above 0 and at most 1',
                key='dataset.source.balance',
                value=threshold,
            )
        if not len(self.labels):
            why = self.unlabelled or 'labels are dropped'
            raise UserError(
                f'dataset.source.balance={threshold} needs labels, and there are none ({why})',
                key='dataset.source.balance',
                value=threshold,
            )
        return class_repeat_factors(self.labels, threshold)

    def _join_shards(self) -> None:
        """Take the shards of all sources where all are read best so."""
        sharded = [part.locality == 'shard' for part in self.parts]
        if all(sharded) and self.repeat_factors is None:
            self.locality = 'shard'
            self.shards = [count for part in self.parts for count in part.shards]
            self.ends = np.cumsum(self.shards)
        elif any(sharded):
            say_once(
                'shards among other sources, or of images that come several times, are read in '
                'any order, which begins a shard again and again: pack them as another format',
                logging.WARNING,
            )

    def place(self, i: int) -> tuple[int, int]:
        """Return the source of image i and its number in it."""
        part = int(np.searchsorted(self.part_ends, i, 'right'))
        return part, i - int(self.part_ends[part]) + len(self.parts[part])

    def __len__(self) -> int:
        return int(self.part_ends[-1])

    def index(self) -> Iterator[Any]:
        """Yield the indices of all sources."""
        for part in self.parts:
            yield from part.index()

    def key(self, i: int) -> str:
        """Return the key of the image below the number of its source, which may share names."""
        part, at = self.place(i)
        folder, slash, rest = self.parts[part].key(at).partition('/')
        return f'{folder}/part{part}/{rest}' if slash else f'part{part}_{folder}'

    def name(self, i: int) -> str:
        """Return the name that the image's source has for it."""
        part, at = self.place(i)
        return self.parts[part].name(at)

    def read(self, i: int) -> bytes:
        """Return the image file."""
        part, at = self.place(i)
        return self.parts[part].read(at)


def _are_numbers(classes: tuple[str, ...]) -> bool:
    """Whether classes have no names: of lists and packed copies only the numbers are known."""
    return classes == numbered(range(len(classes)))


def any_given(values: Sequence[Any]) -> bool:
    """Whether one of the values is not None."""
    return any(value is not None for value in values)


def _as_source(built: Any) -> Source:
    """Return what was built as a source.

    Raises UserError for what holds no images of ours, and for streams.
    """
    from ..image_dataset import ImageDataset  # which imports the sources

    source = built.source if isinstance(built, ImageDataset) else built
    if isinstance(source, StreamedSource):
        kind = type(source).__name__
        raise UserError(
            f'dataset.source.sources: a stream ({kind}) has no place among other sources, repeats '
            'or class balance, which read by number; use HuggingFaceSource or ParquetSource',
            key='dataset.source.sources',
            value=kind,
        )
    if isinstance(built, ImageDataset):
        whole = len(built) == len(built.source)
        return built.source if whole else SelectedSource(built)
    if isinstance(built, Source):
        return built
    kind = type(built).__name__
    raise UserError(
        f'dataset.source.sources: {kind} is neither a source nor an ImageDataset; use one of these',
        key='dataset.source.sources',
        value=kind,
    )
