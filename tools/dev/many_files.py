"""Measure `mmssl data` on many small files: time and memory, killed on the way and started again.

    python tools/dev/many_files.py /tmp/many --count 1000000 --kill-after 90

Writes COUNT JPEGs of 32 pixels in folders of 1,000 (4 KB each on most disks), of which 1 % are
copies and 0.1 % are cut off, looks at them, and compares what is found with what was written.
Memory is that of all processes together, shared pages counted once (Linux).
"""

import argparse
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image

EACH = 1000  # files of a folder
COPIES, CUT = 10, 1  # of these


def write(root: Path, count: int) -> None:
    """Write the files, but for folders that are there."""
    (root / 'train').mkdir(parents=True, exist_ok=True)
    for number in range(count // EACH):
        folder = root / 'train' / f'c{number:05d}'
        if folder.is_dir():
            continue
        beside = root / 'part'
        beside.mkdir(exist_ok=True)
        rng = np.random.default_rng(number)
        for i, pixels in enumerate(rng.integers(0, 256, (EACH, 8, 8, 3), np.uint8)):
            if i >= EACH - COPIES:
                content = (beside / f'{i - COPIES:03d}.jpg').read_bytes()
            else:
                file = io.BytesIO()
                image = Image.fromarray(pixels).resize((32, 32), Image.Resampling.BICUBIC)
                image.save(file, 'JPEG', quality=85)
                content = file.getvalue()[:200] if i < CUT else file.getvalue()
            (beside / f'{i:03d}.jpg').write_bytes(content)
        beside.rename(folder)


def processes(pid: int) -> list[int]:
    """Return a process and those that it has started."""
    try:
        text = Path(f'/proc/{pid}/task/{pid}/children').read_text()
    except OSError:
        return [pid]
    return [pid, *(found for child in text.split() for found in processes(int(child)))]


def memory(pid: int) -> float:
    """Return the MiB of a process and those that it has started."""
    total = 0
    for process in processes(pid):
        try:
            lines = Path(f'/proc/{process}/smaps_rollup').read_text().splitlines()
        except OSError:  # it has ended
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith('Pss:'))
    return total / 1024


def run(command: list[str], kill_after: float) -> tuple[float, float]:
    """Run a command, or kill it after so many seconds; return its seconds and most MiB."""
    began, most = time.monotonic(), 0.0
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)
    while process.poll() is None:
        most = max(most, memory(process.pid))
        if kill_after and time.monotonic() - began > kill_after:
            os.killpg(process.pid, signal.SIGKILL)
        time.sleep(0.5)
    return time.monotonic() - began, most


def main() -> None:
    """Write, kill, measure, compare. Exits with 1 when the counts are others."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('folder', type=Path, help='for the files, which stay')
    parser.add_argument('--count', type=int, default=100_000, help='a multiple of 1,000')
    parser.add_argument('--kill-after', type=float, default=0, help='seconds of a first run')
    parser.add_argument('--workers', type=int, default=2)
    args = parser.parse_args()
    write(args.folder, args.count)
    out = args.folder / 'report'
    command = [sys.executable, '-c', 'from mmssl.cli.command import run; run()', 'data']
    command += [str(args.folder), '--split', 'train', '--out', str(out), '--quiet']
    command += ['--workers', str(args.workers)]
    if args.kill_after:
        run(command, args.kill_after)
        with (out / 'measured' / 'train.jsonl').open() as file:
            runs = sum(1 for _ in file) - 1
        print(f'killed after {args.kill_after:.0f} s, {64 * runs:,} files measured')
    seconds, most = run(command, 0)
    counts = json.loads((out / 'data.json').read_text())['counts']
    folders = args.count // EACH
    print(f'{args.count:,} files: {seconds:.0f} s, at most {most:.0f} MiB; {counts}')
    if (counts['unreadable'], counts['exact']) != (CUT * folders, COPIES * folders):
        sys.exit('other counts than were written')


if __name__ == '__main__':
    main()
