"""List recipes, methods and published weights, and download weights for machines without a network.

mmssl models '*dino*'                    published weights whose name fits, and their figures
mmssl models --recipes 'mocov3*'         configs by name, for train, plan and get_model
mmssl models --download NAME --to DIR    the file of published weights, its hash checked
"""

import argparse
import shutil
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from ..core import UserError
from ..core.io import atomic_path
from ..zoo.hub import ModelHub, list_models, recipes
from ..zoo.metafile import ModelInfo


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line. Raises UserError for --to without --download."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('pattern', nargs='?', default='*', help="such as '*esvit*'")
    parser.add_argument('--recipes', action='store_true', help='configs instead of weights')
    parser.add_argument('--download', nargs='+', metavar='NAME', help='published weights to fetch')
    parser.add_argument('--to', type=Path, help="folder for their files; default: torch's cache")
    args = parser.parse_args(argv)
    if args.to is not None and not args.download:
        raise UserError('--to: says where --download NAME puts files', key='--to', value=args.to)
    return args


def line(info: ModelInfo) -> str:
    """Return the name of published weights, their figures and their licence."""
    figures = '; '.join(
        f'{result.dataset}: ' + ', '.join(f'{k} {v:g}' for k, v in result.metrics.items())
        for result in info.results
    )
    licence = info.metadata.get('Licence', '')
    return '  '.join(part for part in (info.name, figures, f'[{licence}]' * bool(licence)) if part)


def download(names: Sequence[str], folder: Path | None) -> list[Path]:
    """Fetch published weights into torch's cache, or into a folder under their names."""
    found = []
    for info in [ModelHub.get(name) for name in names]:  # all names are right before one is fetched
        path = info.fetch()
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            target = folder / f'{info.name}{path.suffix}'
            with atomic_path(target) as part:
                shutil.copyfile(path, part)
            path = target
        print(path)
        found.append(path)
    return found


def main(argv: Sequence[str] | None = None) -> list[str] | list[Path]:
    """Print what was asked for and return it. Raises UserError where nothing fits a pattern."""
    args = parse(argv)
    if args.download:
        return download(args.download, args.to)
    if args.recipes:
        found = sorted(name for name in recipes() if fnmatchcase(name, args.pattern))
        lines = found
    else:
        found = [n for n in list_models(args.pattern) if ModelHub.get(n).weights]
        lines = [line(ModelHub.get(name)) for name in found]
    if not found:
        raise UserError(
            f"'{args.pattern}': fits no name; a star stands for any text, such as "
            f"'*{args.pattern.strip('*')}*'",
            key='pattern',
            value=args.pattern,
        )
    print('\n'.join(lines))
    return found
