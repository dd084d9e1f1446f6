"""Findings about a data set, what to do about each, and the command that does it."""

import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.errors import escaped
from ..datasets import ImageDataset
from .duplicates import Confirm, equal_groups, near_groups
from .measurements import Measurements

IMAGENET_MEAN = (0.485, 0.456, 0.406)
FAR = 0.05  # of a mean from ImageNet's, as a share of 1, from which it pays to state one's own
UNEVEN = 10  # times as many images of the largest class as of the smallest
SMALL = 32  # pixels of a short side that no recipe for photographs expects
LARGE = 4  # times the usual 256 pixels: decoding takes most of the time
MOST = 1000  # groups or names that the JSON lists of each kind; counts are of all


@dataclass
class Finding:
    """One thing that was found: ``count`` images or groups, advice, and a command if one helps.

    ``groups`` are images to show, as indices over all sets, a row for each.
    """

    key: str
    title: str
    count: int
    advice: str
    command: str = ''
    groups: list[list[int]] = field(default_factory=list)


@dataclass
class Report:
    """Facts and findings of data sets; indices count over all of them, in their order."""

    what: str
    images: dict[str, ImageDataset]
    measured: dict[str, Measurements]
    channels: tuple[int | None, tuple[float, float] | None]
    exact: list[list[int]] = field(default_factory=list)
    near: list[list[int]] = field(default_factory=list)
    leaks: list[list[int]] = field(default_factory=list)
    outliers: list[tuple[int, float]] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    @cached_property
    def starts(self) -> dict[str, int]:
        """The index of the first image of each set."""
        ends = np.cumsum([len(images) for images in self.images.values()])
        return dict(zip(self.images, [0, *ends[:-1].tolist()], strict=True))

    def place(self, index: int) -> tuple[str, int]:
        """Return the set of an image and its index in it."""
        name = [name for name, start in self.starts.items() if start <= index][-1]
        return name, index - self.starts[name]

    def name(self, index: int) -> str:
        """Return the path or address of an image."""
        name, at = self.place(index)
        return escaped(self.images[name].name(at))

    def unreadable(self) -> list[tuple[int, str]]:
        """Return (index, cause) of all images that cannot be read."""
        return [
            (self.starts[name] + at, cause)
            for name, measured in self.measured.items()
            for at, cause in measured.unreadable
        ]


def summarise(
    what: str,
    images: dict[str, ImageDataset],
    measured: dict[str, Measurements],
    channels: tuple[int | None, tuple[float, float] | None],
    distance: int = 4,
    confirm: Confirm | None = None,
    outliers: Sequence[tuple[int, float]] = (),
) -> Report:
    """Return the report on data sets that were measured, by name.

    ``distance`` is in how many of 64 bits the perceptual hashes of near duplicates differ at most;
    ``confirm`` is `near_groups`', ``outliers`` are (index, score) of `features`.
    """
    report = Report(what, images, measured, channels, outliers=list(outliers))
    rows = np.concatenate([m.rows for m in measured.values()])
    readable = np.flatnonzero(rows['readable'])
    report.exact = _largest_first(equal_groups(rows['digest'], readable))
    colourful = readable[~rows['flat'][readable]]
    near = near_groups(rows['look'], rows['digest'], colourful, distance, confirm)
    report.near = _largest_first(near)
    report.leaks = _leaks(report)
    report.findings = [f for f in _findings(report, rows) if f.count]
    return report


def _largest_first(groups: list[NDArray[Any]]) -> list[list[int]]:
    return sorted((group.tolist() for group in groups), key=lambda group: (-len(group), group[0]))


def _leaks(report: Report) -> list[list[int]]:
    """Return the groups of equal or near images that are in several sets."""
    near = {i for group in report.near for i in group}
    groups = report.near + [g for g in report.exact if g[0] not in near]
    return [g for g in groups if len({report.place(i)[0] for i in g}) > 1]


def class_counts(images: ImageDataset) -> dict[str, int]:
    """Return how many images each class has, in the order of the classes; {} without labels."""
    counts = Counter(images.labels)
    return {escaped(name): counts[i] for i, name in enumerate(images.classes) if images.labels}


def _sentence(*parts: str) -> str:
    return ' '.join(part for part in parts if part)


def _findings(report: Report, rows: NDArray[Any]) -> list[Finding]:
    clean = f'mmssl data {shlex.quote(report.what)} --clean LIST'
    use = '--cfg-options train_dataloader.dataset.ann_file=LIST'
    bad = report.unreadable()
    flat = np.flatnonzero(rows['readable'] & rows['flat']).tolist()
    found = [
        Finding('unreadable', 'Images that cannot be read', len(bad),
                'Training would put others in their place, and stops above 1 % of them. Repair '
                f'them, or train without them by {use}.', clean),
        Finding('leaks', 'Images in several sets', len(report.leaks),
                'What is measured on them was seen in training. The list leaves them out of the '
                'first set.', clean, report.leaks),
        Finding('exact', 'Equal files', len(report.exact),
                'Copies count several times, and as negatives of one another in contrastive '
                'methods. The list keeps the first of each group.', clean, report.exact),
        Finding('near', 'Nearly equal images', len(report.near),
                'Resized, recompressed or slightly edited copies, or frames of one video. Look at '
                'them; the list keeps the first of each group.', clean, report.near),
        Finding('flat', 'Images of one colour', len(flat),
                'Often placeholders of a failed download, or empty scans. Look at them and delete '
                'what is none of your images.', '', [[i] for i in flat]),
        Finding('outliers', 'Images unlike all others', len(report.outliers),
                'Far from their nearest neighbours by features of the network: often errors, '
                'sometimes rare and right. Look at them; they stay in the list.', '',
                [[i] for i, _ in report.outliers]),
    ]  # fmt: skip
    for name, images in report.images.items():
        found += _of_classes(report, name, images)
    return found + _of_pixels(report, rows)


def _of_classes(report: Report, name: str, images: ImageDataset) -> list[Finding]:
    counts = class_counts(images)
    found = []
    if images.source.unlabelled:
        found.append(
            Finding('unlabelled', f'{name}: no labels', len(images), f'{images.source.unlabelled}.')
        )
    if counts and min(counts.values()) and max(counts.values()) >= UNEVEN * min(counts.values()):
        rare = min(counts, key=lambda key: counts[key])
        common = max(counts, key=lambda key: counts[key])
        found.append(
            Finding(
                'uneven', f'{name}: classes of very different sizes', len(counts),
                f'{common} has {counts[common]} images and {rare} {counts[rare]}. Pretraining '
                'seldom minds; for probes and fine-tuning images of rare classes can come more '
                'often: a source ConcatSource with balance (docs/datasets.md).',
            )
        )  # fmt: skip
    empty = [key for key, count in counts.items() if not count]
    if empty:
        found.append(
            Finding('empty', f'{name}: classes without images', len(empty), ', '.join(empty[:20]))
        )
    return found


def _of_pixels(report: Report, rows: NDArray[Any]) -> list[Finding]:
    readable = rows[rows['readable']]
    modes = Counter(mode.decode() for mode in readable['mode'].tolist())
    found = []
    if len(modes) > 1:
        usual, _ = modes.most_common(1)[0]
        others = len(readable) - modes[usual]
        listed = ', '.join(f'{mode}: {count}' for mode, count in modes.most_common())
        found.append(
            Finding('modes', 'Images of several modes', others,
                    f'{listed}. All become RGB; grey images stay grey, alpha is dropped. A mode '
                    'that one class has more of than others gives the class away.')
        )  # fmt: skip
    deep = sum(count for mode, count in modes.items() if '16' in mode or mode in ('I', 'F'))
    if deep and report.channels[0] is None:
        found.append(
            Finding('deep', 'Images of more than 8 bits', deep,
                    'Their high byte is used. State which values are black and white, and keep '
                    'all bits by channels.',
                    f'mmssl data {shlex.quote(report.what)} --channels 1 --value-range 0 4095')
        )  # fmt: skip
    short = np.minimum(readable['width'], readable['height'])
    small = int((short < SMALL).sum())
    if small:
        found.append(
            Finding('small', f'Images with a side below {SMALL} pixels', small,
                    'Views of 224 pixels of them are blur: take recipes for small images '
                    '(configs/cifar10), or leave these out.')
        )  # fmt: skip
    if len(short) and np.median(short) > LARGE * 256:
        found.append(
            Finding('large', 'Large images', int((short > LARGE * 256).sum()),
                    f'Half of them have a short side above {int(np.median(short))} pixels, and '
                    'decoding takes most of the time. Store them at 512 pixels.')
        )  # fmt: skip
    return found + _of_normalisation(report)


def _of_normalisation(report: Report) -> list[Finding]:
    mean, std = next(iter(report.measured.values())).mean_and_std()
    if not mean:
        return []
    usual = (
        len(mean) == 3 and max(abs(a - b) for a, b in zip(mean, IMAGENET_MEAN, strict=True)) <= FAR
    )
    if usual:
        return []
    written = [','.join(f'{v:.3f}' for v in values) for values in (mean, std)]
    return [
        Finding(
            'normalisation', 'Mean and std are not those of ImageNet', len(mean),
            'State those of your images where a network is trained from the beginning; one that '
            'was trained on ImageNet wants what it was trained with.',
            '--cfg-options "model.data_preprocessor={\'type\':\'ViewPreprocessor\','
            f"'mean':[{written[0]}],'std':[{written[1]}]}}\"",
        )
    ]  # fmt: skip


# as plain data ------------------------------------------------------------------------------------
def to_json(report: Report) -> dict[str, Any]:
    """Return the report as plain data; lists have at most `MOST` entries, counts are of all."""
    unreadable = report.unreadable()
    return dict(
        format=1,
        what=report.what,
        sets={name: _set_facts(report, name) for name in report.images},
        counts=dict(
            unreadable=len(unreadable),
            exact=len(report.exact),
            near=len(report.near),
            leaks=len(report.leaks),
        ),
        unreadable=[dict(name=report.name(i), cause=cause) for i, cause in unreadable[:MOST]],
        exact=_names(report, report.exact),
        near=_names(report, report.near),
        leaks=_names(report, report.leaks),
        outliers=[dict(name=report.name(i), score=score) for i, score in report.outliers],
        findings=[
            dict(key=f.key, title=f.title, count=f.count, advice=f.advice, command=f.command)
            for f in report.findings
        ],
    )


def _names(report: Report, groups: list[list[int]]) -> list[list[str]]:
    return [[report.name(i) for i in group[:MOST]] for group in groups[:MOST]]


def _set_facts(report: Report, name: str) -> dict[str, Any]:
    images, measured = report.images[name], report.measured[name]
    rows = measured.rows[measured.rows['readable']]
    mean, std = measured.mean_and_std()
    modes = Counter(mode.decode() for mode in rows['mode'].tolist())
    return dict(
        images=len(images),
        readable=len(rows),
        classes=class_counts(images),
        bytes=int(rows['bytes'].sum()),
        width=quantiles(rows['width']),
        height=quantiles(rows['height']),
        modes=dict(modes.most_common()),
        mean=mean,
        std=std,
    )


def quantiles(values: NDArray[Any]) -> dict[str, int]:
    """Return the smallest, the median and the largest of numbers; {} of none."""
    if not len(values):
        return {}
    return dict(min=int(values.min()), median=int(np.median(values)), max=int(values.max()))


# a list without them ------------------------------------------------------------------------------
def left_out(report: Report) -> set[int]:
    """Return the images of the first set that a clean list leaves out.

    Unreadable ones, those that are in another set too, and of each group of copies all but the
    first.
    """
    size = len(next(iter(report.images.values())))
    out = {i for i, _ in report.unreadable() if i < size}
    for group in report.leaks:
        out.update(i for i in group if i < size)
    for group in report.exact + report.near:
        kept = [i for i in group if i < size and i not in out]
        out.update(kept[1:])
    return out


def clean_list(report: Report) -> list[str]:
    """Return the lines of a list of the first set without `left_out`: path, label if there is."""
    images = next(iter(report.images.values()))
    out = left_out(report)
    lines = []
    for i in range(len(images)):
        if i in out:
            continue
        key = images.source.key(int(images.indices[i]))
        lines.append(f'{key} {images.labels[i]}' if images.labels else key)
    return lines
