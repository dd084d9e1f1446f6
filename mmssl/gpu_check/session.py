"""Run checks one after the other, each in a process of its own, within a budget of seconds."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..core.io import atomic_write
from .checks import Check
from .summary import page_of
from .verdict import Verdict, judge

SOFT = 0.9  # share of its limit after which a check begins nothing new
Command = Callable[[Check, float, Path], list[str]]
Result = dict[str, Any]


def total_seconds(checks: Sequence[Check], device: str) -> float:
    """Return the seconds that all checks may take on a device."""
    return sum(check.limit(device) for check in checks)


class Session:
    """A run of all checks, whose results are in ``out``/gpu.json and gpu.html after each.

    ``budget`` are the seconds for all. A check for which less than half of its limit is left is
    skipped, and measurements leave the learning run its time; with more than the sum of all
    limits each check gets more in proportion. ``command`` makes the command line of a check.
    """

    def __init__(
        self,
        checks: Sequence[Check],
        out: Path,
        device: str,
        budget: float,
        no_gpu: str = '',
        data: Path | None = None,
        command: Command | None = None,
    ) -> None:
        self.checks = checks
        self.out = out
        self.device = device
        self.budget = budget
        self.no_gpu = no_gpu
        self.data = data
        self.command = command or self._command
        self.results: list[Result] = []
        self.began = time.monotonic()

    def run(self, say: Callable[[str], None] = print) -> Verdict:
        """Run, skip or leave out every check; return the verdict on all."""
        self.out.mkdir(parents=True, exist_ok=True)
        for place, check in enumerate(self.checks):
            later = self.checks[place + 1 :] if check.kind == 'measurement' else ()
            kept = sum(c.limit(self.device) for c in later if c.kind == 'learning')
            self.results.append(self._result(check, kept))
            self._write()
            last = self.results[-1]
            note = f': {last["note"]}' if last['note'] else ''
            say(f'{last["status"]:13}{last["seconds"]:6.1f} s  {check.title}{note}')
        return self._write()

    def _result(self, check: Check, kept: float) -> Result:
        """Run a check, or say why not; ``kept`` seconds are for others."""
        result: Result = dict(
            name=check.name, title=check.title, kind=check.kind, seconds=0.0, note='', parts=[]
        )
        usual = check.limit(self.device)
        left = self.budget - (time.monotonic() - self.began) - kept
        result['limit'] = usual
        if not usual:
            return dict(result, status='not possible', note='needs a GPU')
        if left < usual / 2:
            note = f'{max(left, 0):.0f} s of the budget are left for its {usual:.0f} s'
            return dict(result, status='skipped', note=note)
        stretch = max(1.0, self.budget / total_seconds(self.checks, self.device))
        result['limit'] = min(usual * stretch, left)
        return result | self._run(check, result['limit'])

    def _run(self, check: Check, limit: float) -> Result:
        """Run a check's process until it ends or its limit is over."""
        folder = self.out / check.name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        began = time.monotonic()
        with open(folder / 'output.log', 'w') as log:
            # a session of its own, so that its loaders and ranks end with it
            process = subprocess.Popen(
                self.command(check, limit, folder),
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                # the networks here are smaller than what threads cost
                env=dict(os.environ, OMP_NUM_THREADS=os.environ.get('OMP_NUM_THREADS', '1')),
                start_new_session=True,
            )
            try:
                code: int | None = process.wait(limit)
            except subprocess.TimeoutExpired:
                code = None
            finally:
                _end(process)
        seconds = round(time.monotonic() - began, 1)
        return dict(seconds=seconds, **_outcome(folder, code, limit))

    def _command(self, check: Check, limit: float, folder: Path) -> list[str]:
        words = [sys.executable, '-m', 'mmssl.gpu_check.run_one', check.name]
        words += ['--file', str(folder / 'parts.json'), '--folder', str(folder)]
        words += ['--seconds', f'{SOFT * limit:.1f}', '--device', self.device]
        return words + (['--data', str(self.data)] if self.data else [])

    def _write(self) -> Verdict:
        seconds = time.monotonic() - self.began
        verdict = judge(self.results, self.no_gpu, seconds)
        content = dict(
            verdict=verdict.line,
            status=verdict.status,
            seconds=round(seconds, 1),
            budget=self.budget,
            device=self.device,
            checks=self.results,
        )
        atomic_write(self.out / 'gpu.json', json.dumps(content, indent=1) + '\n')
        atomic_write(self.out / 'gpu.html', page_of(content))
        return verdict


def _end(process: subprocess.Popen[Any]) -> None:
    """End what is left of a process and of those that it has started."""
    with suppress(ProcessLookupError, PermissionError):  # when all of them are gone
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _outcome(folder: Path, code: int | None, limit: float) -> Result:
    """Return status, note and parts of a process that left ``code``, None where it was ended."""
    file = folder / 'parts.json'
    parts = json.loads(file.read_text())['parts'] if file.is_file() else []
    failed = [part for part in parts if part['ok'] is False]
    status, note = 'passed', ''
    if code is None:
        status, note = 'timed out', f'ended after {limit:.0f} s'
    elif code < 0:
        status, note = 'crashed', signal.Signals(-code).name
    elif code > 0 or not parts:
        status, note = 'crashed', _last_line(folder / 'output.log')
    elif failed:
        status, note = 'failed', f'{failed[0]["name"]}: {failed[0].get("error", "")}'
    elif any(part['ok'] is None for part in parts):
        done = sum(part['ok'] is True for part in parts)
        status, note = 'incomplete', f'{done} of {len(parts)} parts were run'
    return dict(status=status, note=note, parts=parts)


def _last_line(file: Path) -> str:
    lines = file.read_text(errors='replace').split('\n')
    return next((line.strip() for line in reversed(lines) if line.strip()), 'it left no parts')
