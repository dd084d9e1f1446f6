"""One network pass per image size."""

from collections.abc import Sequence
from itertools import groupby

from torch import Tensor


def equal_runs(views: Sequence[Tensor]) -> list[list[Tensor]]:
    """Split views, each (B, 3, H, W), into runs of consecutive views of equal width.

    Consecutive, not merely equal: this is the order of the official multi-crop code (SwAV,
    DINO), on which batch-norm statistics depend.
    """
    return [list(run) for _, run in groupby(views, key=lambda view: view.shape[-1])]
