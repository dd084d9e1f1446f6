"""Count samples that could not be read, and stop when they are too many."""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

from . import dist
from .errors import UserError

T = TypeVar('T')
SHARE = 0.01
SHOWN = 20  # files named in the error
SURE = 4.0  # standard deviations beyond which a share is no accident


class BadSamples:
    """Files that could not be read, each once, out of ``total`` of which some were asked for.

    ``share`` is the share that is tolerated: ``default_hooks.bad_samples.share`` in a config.

    A report is 'file: cause'; lines of one text are several reports.
    """

    def __init__(self, total: int, share: float = SHARE) -> None:
        if not 0 <= share <= 1:
            raise UserError(
                f'share={share} of bad samples: give a number from 0 to 1', key='share', value=share
            )
        self.total = total
        self.share = share
        self.seen = 0
        self.files: dict[str, str] = {}

    def add(self, reports: Iterable[str], seen: int = 0) -> list[str]:
        """Count ``seen`` samples and their reports; return those of files not met before."""
        self.seen += seen
        new = []
        for report in (line for text in reports for line in text.splitlines() if line):
            name = report.partition(': ')[0]
            if name not in self.files:
                self.files[name] = report
                new.append(report)
        return new

    def joined(self) -> 'BadSamples':
        """Return the counts of all ranks as one; every rank must call it."""
        own = (list(self.files.values()), self.seen)
        joined = BadSamples(self.total, self.share)
        for reports, seen in dist.gather_objects(own):
            joined.add(reports, seen)
        return joined

    @property
    def limit(self) -> float:
        """How many bad files are too many.

        The share of the whole data set; and sooner, when what was seen leaves no doubt.
        """
        expected = self.share * self.seen
        return min(self.share * self.total, expected + SURE * math.sqrt(expected) + SURE)

    def check(self) -> None:
        """Raise UserError with the list when more are bad than the share allows."""
        if len(self.files) <= self.limit:
            return
        listed = list(self.files.values())
        more = f' and {len(listed) - SHOWN} more' if len(listed) > SHOWN else ''
        raise UserError(
            f'{len(listed)} unreadable images among the {self.seen} first read of {self.total}, '
            f'more than share={self.share:g}: {"; ".join(listed[:SHOWN])}{more}. Repair or remove '
            'them (mmssl data DIR finds all), or allow more by '
            '--cfg-options default_hooks.bad_samples.share=SHARE',
            key='default_hooks.bad_samples.share',
            value=self.share,
        )


def bad_samples_of(samples: Any) -> list[str]:
    """Return the reports of a batch's data_samples, '' for readable images, none without any."""
    return list(samples.get('unreadable', ())) if isinstance(samples, dict) else []


def readable(samples: dict[str, Any], outputs: Sequence[T]) -> Iterator[tuple[int, T]]:
    """Yield (place in the batch, output) of the images of a batch that could be read.

    ``samples`` are the batch's data_samples, ``outputs`` one for each image. In the place of an
    unreadable image another was shown, which must not count.
    """
    reports = bad_samples_of(samples) or [''] * len(outputs)
    for i, (output, report) in enumerate(zip(outputs, reports, strict=True)):
        if not report:
            yield i, output
