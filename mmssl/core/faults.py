"""Counting samples that could not be read, and knowing when there are too many."""

import math
from collections.abc import Iterable

from .errors import UserError

SHARE = 0.01
SHOWN = 20  # files named in the error
SURE = 4.0  # standard deviations beyond which a share is no accident


class Faults:
    """Files that could not be read, each once, out of ``total`` of which some were asked for.

    A fault is 'file: cause'; lines of one text are several.
    """

    def __init__(self, total: int, share: float = SHARE) -> None:
        if not 0 <= share <= 1:
            raise UserError(f'share={share} of bad samples: give a number from 0 to 1')
        self.total, self.share = total, share
        self.seen = 0
        self.files: dict[str, str] = {}

    def add(self, faults: Iterable[str], seen: int = 0) -> list[str]:
        """Count ``seen`` samples and their faults; return those of files not met before."""
        self.seen += seen
        new = []
        for fault in (line for text in faults for line in text.splitlines() if line):
            name = fault.partition(': ')[0]
            if name not in self.files:
                self.files[name] = fault
                new.append(fault)
        return new

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
            'them (tools/misc/verify_dataset.py finds all), or allow more by '
            '--cfg-options default_hooks.bad_images.share=SHARE'
        )


def of_batch(samples: dict) -> list[str]:
    """Return the faults of a batch's data_samples, '' for sound ones."""
    return list(samples.get('fault', ()))
