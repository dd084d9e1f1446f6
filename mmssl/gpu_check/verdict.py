"""The verdict on all checks: one line and an exit status."""

from collections.abc import Sequence
from typing import Any, NamedTuple

FAILURES = ('failed', 'crashed', 'timed out')


class Verdict(NamedTuple):
    """One line, and the exit status: 0 when all that was run passed, else 1."""

    line: str
    status: int


def judge(results: Sequence[dict[str, Any]], no_gpu: str, seconds: float) -> Verdict:
    """Return the verdict on results so far; ``no_gpu`` says why there is no GPU, else ''."""
    failed = [r for r in results if r['status'] in FAILURES]
    passed = [r['name'] for r in results if r['status'] in ('passed', 'incomplete')]
    left_out = [r['name'] for r in results if r['status'] in ('skipped', 'not possible')]
    parts = [f'{r["name"]} {r["status"]} ({r["note"]})' for r in results
             if r['status'] in (*FAILURES, 'incomplete')]  # fmt: skip
    if left_out:
        parts.append(f'not run: {", ".join(left_out)}')
    if no_gpu:
        parts.append('nothing was tried on a GPU')
    head = f'no GPU: {no_gpu}; ' if no_gpu else ''
    if failed:
        head += f'FAILED, {len(failed)} of {len(failed) + len(passed)} checks'
    elif no_gpu:
        head += f'{len(passed)} checks passed on the CPU'
    else:
        head += f'mmssl works here: {len(passed)} checks passed'
    return Verdict('; '.join([f'{head} in {seconds:.0f} s', *parts]), int(bool(failed)))
