"""Measure ours beside named references, in turns in one run.

    python tools/dev/bench.py CASE [options]

A case is a file of tools/dev/benchmarks. Its ``comparisons`` returns names, and for each a function
that builds its `Comparison`, given a folder that is removed in the end; the parameters of
``comparisons`` are the options of the case.
"""

import argparse
import ast
import importlib
import inspect
import json
import logging
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from benchmarks import timing
from mmengine.logging import MMLogger
from rich.console import Console

from mmssl.cli.options import OptionAction, run_tool, select_by_prefix
from mmssl.core import UserError
from mmssl.core.io import atomic_write

FOLDER = Path(__file__).resolve().parent / 'benchmarks'
SHARED = ('peers', 'timing')  # beside the cases


def cases() -> dict[str, str]:
    """Return the names of the cases, and of each the first line of its docstring."""
    files = [file for file in sorted(FOLDER.glob('*.py')) if file.stem not in SHARED]
    docs = {file.stem: ast.get_docstring(ast.parse(file.read_text())) for file in files}
    return {name: (doc or '').partition('\n')[0] for name, doc in docs.items()}


def add_settings(parser: argparse.ArgumentParser, comparisons: Callable[..., Any]) -> None:
    """Add an option of the default's type for each parameter; one without default must be given."""
    for name, parameter in inspect.signature(comparisons).parameters.items():
        option, default = f'--{name.replace("_", "-")}', parameter.default
        if default is parameter.empty:
            parser.add_argument(name)
        elif isinstance(default, bool):
            parser.add_argument(option, action='store_true')
        elif isinstance(default, dict):
            parser.add_argument(option, nargs='+', action=OptionAction, default=default)
        elif isinstance(default, tuple):
            parser.add_argument(option, nargs='+', type=type(default[0]), default=default)
        else:
            parser.add_argument(option, type=type(default), default=default, help=str(default))


def report(name: str, found: dict[str, Any], out: Path | None) -> None:
    """Print what a case measured, and write it where asked."""
    made = timing.provenance()
    console = Console(width=None if sys.stdout.isatty() else 160)
    console.print(timing.table(found))
    console.print(timing.machine_line(made), highlight=False)
    if out:
        atomic_write(out, json.dumps(dict(case=name, **made, comparisons=found), indent=2))


def main(argv: Sequence[str] | None = None) -> None:
    """Run a case, print and write what it measured; without a case list them."""
    name, *words = (sys.argv[1:] if argv is None else argv) or ['--help']
    known = cases()
    if name in ('-h', '--help'):
        print(__doc__, *(f'{case:10} {line}' for case, line in known.items()), sep='\n')
        return
    if name not in known:
        raise UserError(f"case '{name}' is unknown; use one of {', '.join(known)}", 'case', name)
    MMLogger.get_current_instance().setLevel(logging.ERROR)  # groups are listed at every build
    case = importlib.import_module(f'benchmarks.{name}')
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog=f'bench.py {name}', description=case.__doc__, formatter_class=raw
    )
    parser.add_argument('--only', nargs='+', default=[''], help='beginnings of comparisons')
    parser.add_argument('--repeat', type=int, default=5, help='rounds, after one to warm up')
    parser.add_argument('--json', type=Path, metavar='FILE', help='write what was measured')
    add_settings(parser, case.comparisons)
    settings = vars(parser.parse_args(words))
    only, repeat, out = (settings.pop(key) for key in ('only', 'repeat', 'json'))
    if repeat < 1:
        raise UserError(f'--repeat {repeat}: measure at least one round', '--repeat', repeat)
    with tempfile.TemporaryDirectory() as scratch:
        found, builders = {}, case.comparisons(**settings)
        for chosen in select_by_prefix('--only', only, builders):
            torch.manual_seed(0)
            found[chosen] = timing.compare(builders[chosen](Path(scratch)), repeat)
    report(name, found, out)


if __name__ == '__main__':
    run_tool(main)
