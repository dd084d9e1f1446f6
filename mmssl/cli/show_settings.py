"""Show the settings inside a training file, or an args.txt, and compare them with a config.

Nothing of the file is run. With --config the values that differ are listed: for files of ours
every setting, for official files those arguments that a config can be asked for.
"""

import argparse
from collections.abc import Sequence
from typing import Any

from ..apis import load_config
from ..checkpoint import local_path, read
from ..checkpoint.file_settings import FileSettings, read_arguments, settings_of
from ..config.official_settings import Compared, compare_arguments, compare_settings
from ..core import UserError
from ..zoo.hub import published
from .options import OptionAction


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('file', help='path, address or model name of a training file; or args.txt')
    parser.add_argument('--config', help='config of ours to compare with')
    parser.add_argument(
        '--cfg-options', nargs='+', action=OptionAction, default={}, help='key=value, of --config'
    )
    return parser.parse_args(argv)


def read_settings(file: str) -> FileSettings:
    """Return the settings of a file, fetched where it is an address or a model's name.

    Raises UserError for a file without settings.
    """
    info = published(file)
    path = local_path(file) if info is None else info.fetch()
    if str(path).endswith('.txt'):
        return read_arguments(path)
    return settings_of(read(path), path)


def compare(settings: FileSettings, config: str, options: dict[str, Any]) -> list[Compared]:
    """Compare a file's settings with a config.

    Raises UserError where they have no setting in common.
    """
    cfg = load_config(config, options)
    rule = compare_settings if settings.ours else compare_arguments
    found = rule(cfg, settings.values)
    if not found:
        raise UserError(
            f'{config}: no setting of this file can be read from it; give a pretraining config of '
            "the file's method",
            key='--config',
            value=config,
        )
    return found


def table(rows: Sequence[Compared]) -> str:
    """Return the rows as three columns."""
    cells = [('setting', 'config', 'file')]
    cells += [(row.name, repr(row.config), repr(row.file)) for row in rows]
    widths = [max(len(line[i]) for line in cells) for i in (0, 1)]
    return '\n'.join(f'{a:{widths[0]}}  {b:{widths[1]}}  {c}' for a, b, c in cells)


def main(argv: Sequence[str] | None = None) -> list[Compared]:
    """Print the settings, or their differences; return what was compared.

    Raises UserError for a file without settings and for a config that fits none of them.
    """
    args = parse(argv)
    settings = read_settings(args.file)
    if not args.config:
        width = max(map(len, settings.values))
        for name, value in sorted(settings.values.items()):
            print(f'{name:{width}}  {value!r}')
        return []
    rows = compare(settings, args.config, args.cfg_options)
    differing = [row for row in rows if not row.equal]
    if differing:
        print(table(differing))
    print(f'{len(rows) - len(differing)} of {len(rows)} settings are equal')
    return rows
