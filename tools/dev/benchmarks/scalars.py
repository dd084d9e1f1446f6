"""A hundred values of a logged scalar after many others: ours beside mmengine's history."""

from mmengine.logging import HistoryBuffer

from mmssl.engine.scalar_history import ScalarHistory

from .timing import Builders, Comparison

VALUES = 100


def add(history: HistoryBuffer) -> None:
    """Add the values of a hundred steps."""
    for i in range(VALUES):
        history.update(float(i))


def beside(before: int) -> Comparison:
    """Compare histories of equal length."""
    kinds = dict(mmengine=HistoryBuffer, ours=ScalarHistory)
    found = {name: kind([0.5] * before, [1] * before) for name, kind in kinds.items()}
    contestants = {name: lambda history=h: add(history) for name, h in found.items()}
    return Comparison(contestants, ['mmengine'])


def comparisons() -> Builders:
    """One for each length of a run, in steps."""
    lengths = (100, 10_000, 125_000, 375_000, 990_000)
    return {f'{n:,} values before': lambda _, n=n: beside(n) for n in lengths}
