"""Measure contestants in turns, and set each beside the named references of the same run."""

import shlex
import statistics
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from rich.table import Table
from torch.utils.benchmark import timer

from mmssl.engine.hooks.run_info_hook import machine, versions
from mmssl.planning.memory import Memory
from mmssl.results.result_file import commit

DEVICE = 'cuda' if torch.cuda.is_available() else 'cpu'
Call = Callable[[], Any]
Taken = dict[str, list[float]]  # contestant -> what its rounds took


def seconds(call: Call) -> float:
    """Return the seconds of a call, with what it gives the device to do."""
    start = timer()
    call()
    return timer() - start


def counted(call: Call) -> float:
    """Return the number that a contestant finds itself."""
    return call()


class Comparison(NamedTuple):
    """Contestants to measure side by side, and what else the table says of them.

    ``measure`` makes a number in ``unit`` of a contestant, which is taken once where it does not
    vary. ``peaks`` names those whose peak memory is counted, without ``uncounted`` bytes of results
    that all must make. ``facts`` returns further columns for a contestant, given its name and what
    the rounds of all took.
    """

    contestants: Mapping[str, Call]
    references: Sequence[str]
    unit: str = 's'
    measure: Callable[[Call], float] = seconds
    once: bool = False
    peaks: Collection[str] = ()
    uncounted: int = 0
    facts: Callable[[str, Taken], Mapping[str, Any]] = lambda name, taken: {}


Builders = dict[str, Callable[[Path], Comparison]]  # each given a folder that ends with the run


def make_on_device() -> None:
    """Let new tensors lie on the device."""
    if DEVICE != 'cpu':
        torch.set_default_device(DEVICE)


def in_turns(comparison: Comparison, repeat: int) -> Taken:
    """Measure every contestant once a round; a first round is to warm up and not counted."""
    skipped, rounds = (0, 1) if comparison.once else (1, repeat)
    taken: Taken = {name: [] for name in comparison.contestants}
    for _ in range(skipped + rounds):  # what slows the machine slows all of them
        for name, call in comparison.contestants.items():
            taken[name].append(comparison.measure(call))
    return {name: values[skipped:] for name, values in taken.items()}


def spread(values: Sequence[float]) -> dict[str, float]:
    """Return median, least and largest."""
    return dict(median=statistics.median(values), min=min(values), max=max(values))


def ratio(values: Sequence[float], reference: Sequence[float]) -> dict[str, float]:
    """Return median and range of the rounds' ratios."""
    return spread([a / b for a, b in zip(values, reference, strict=True)])


def peak(call: Call) -> float:
    """Return MB above what is there before a call, torch's alone."""
    if DEVICE == 'cpu':
        with Memory() as memory:
            call()
        return memory.peak / 1e6
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    call()
    return (torch.cuda.max_memory_allocated() - before) / 1e6


def compare(comparison: Comparison, repeat: int) -> dict[str, Any]:
    """Measure and return all that is known of a comparison, as plain data."""
    taken = in_turns(comparison, repeat)
    found = {}
    for name, values in taken.items():
        others = [r for r in comparison.references if r in taken and r != name]
        one: dict[str, Any] = dict(values=values, **spread(values))
        one['ratio'] = {r: ratio(values, taken[r]) for r in others}
        facts = dict(comparison.facts(name, taken))
        if name in comparison.peaks:
            facts['MB'] = peak(comparison.contestants[name]) - comparison.uncounted / 1e6
        found[name] = one | dict(facts=facts)
    references = [r for r in comparison.references if r in taken]
    return dict(unit=comparison.unit, references=references, contestants=found)


def number(value: Any) -> str:
    """Return four digits of a number, or what is no number as it is."""
    if not isinstance(value, float):
        return str(value)
    return f'{value:.4g}' if abs(value) < 1e4 else f'{value:,.0f}'


def interval(found: Mapping[str, float] | None) -> str:
    """Return a median and the range around it, or nothing of nothing."""
    if found is None:
        return ''
    low, middle, high = (number(found[key]) for key in ('min', 'median', 'max'))
    return middle if low == high else f'{middle} ({low} to {high})'


def table(found: Mapping[str, dict[str, Any]]) -> Table:
    """Return a row for every contestant of the comparisons."""
    rows = []
    for name, comparison in found.items():
        for contestant, one in comparison['contestants'].items():
            row = {'': name, 'contestant': contestant, comparison['unit']: interval(one)}
            for reference in comparison['references']:
                row[f'ratio to {reference}'] = interval(one['ratio'].get(reference))
            rows.append(row | {key: number(value) for key, value in one['facts'].items()})
    columns = dict.fromkeys(key for row in rows for key in row)
    shown = Table(*columns)
    for row in rows:
        shown.add_row(*(row.get(key, '') for key in columns))
    return shown


def provenance() -> dict[str, Any]:
    """Return the command, commit, versions and machine of this process."""
    command = shlex.join(['python', *sys.argv])
    return dict(command=command, commit=commit(), versions=versions(), machine=machine())


def machine_line(found: Mapping[str, Any]) -> str:
    """Return what ``provenance`` found as one line to read."""
    where = found['machine']
    device = ', '.join(where['gpus']) or f'{where["processor"]}, {where["cores"]} cores'
    torch_version = found['versions']['torch']
    return f'{device}, {where["threads"]} threads, torch {torch_version}, commit {found["commit"]}'
