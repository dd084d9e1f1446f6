"""Run our tools as steps of a longer one, and skip the steps whose result is there."""

import hashlib
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..zoo.hub import root
from .command import COMMANDS

REPO = root()


def tool_environment(threads: int | None) -> dict[str, str]:
    """Return this environment, with OMP_NUM_THREADS where ``threads`` are given and it is unset."""
    given = {} if threads is None else {'OMP_NUM_THREADS': str(threads)}
    return {**given, **os.environ}


def tool_status(tool: str, *args: str | Path, threads: int | None = None) -> int:
    """Run tools/TOOL.py in a process of its own, print its command line, return its exit status.

    ``threads`` sets OMP_NUM_THREADS where it is not set.
    """
    words = [os.path.relpath(REPO / 'tools' / f'{tool}.py'), *map(str, args)]
    environment = tool_environment(threads)
    print('$', shown(tool, words), flush=True)
    return subprocess.run([sys.executable, *words], env=environment, check=False).returncode


def shown(tool: str, words: list[str]) -> str:
    """Return the command line of a tool as a user types it: of the wheel, or of the sources."""
    module = tool.rpartition('/')[2]
    names = [name for name, command in COMMANDS.items() if command.module == module]
    if REPO.name == '.mim' and names:
        return shlex.join(['mmssl', names[0], *words[1:]])
    return shlex.join(['python', *words])


def call_tool(tool: str, *args: str | Path, threads: int | None = None) -> None:
    """Run a tool; when it fails, leave with its exit status."""
    status = tool_status(tool, *args, threads=threads)
    if status:
        sys.exit(status)


def prepare_folder(folder: Path, settings: str) -> None:
    """Make a folder for results of some settings; one of others is moved aside, not mixed with."""
    mark = folder / 'settings.json'
    stamp = {'settings': hashlib.sha256(settings.encode()).hexdigest()}
    if stored_json(mark) == stamp:
        return
    if folder.exists():
        number = 1
        while (aside := folder.with_name(f'{folder.name}.{number}')).exists():
            number += 1
        folder.rename(aside)
        print(f'{folder} was made with other settings or images: it is {aside} now')
    folder.mkdir(parents=True)
    mark.write_text(json.dumps(stamp) + '\n')


def stored_json(file: Path) -> dict[str, Any] | None:
    """Return the content of a JSON file, or None where the step that writes it is to be run."""
    return json.loads(file.read_text()) if file.is_file() else None


def json_or_run(file: Path, run: Callable[[], None]) -> dict[str, Any]:
    """Return the content of a JSON file; ``run`` writes it where it is not there yet."""
    found = stored_json(file)
    if found is None:
        run()
        found = json.loads(file.read_text())
    return found
