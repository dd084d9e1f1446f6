"""Count the parameters of a model, and the operations of its backbone on one image."""

import argparse
import warnings
from collections.abc import Sequence

from ..apis import get_model
from ..planning.complexity import cost


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('model', help='config file, or the name of a published model')
    parser.add_argument('--size', type=int, nargs='+', default=[224], help='pixels: side, or H W')
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Print the parameters of a model and the operations of its backbone."""
    args = parse(argv)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # tracing warns of every Python number
        found = cost(get_model(args.model), (args.size[0], args.size[-1]))
    for name, value in zip(('all', 'trained', 'backbone'), found, strict=False):
        print(f'{name:9} {value:>15,} parameters  {value / 1e6:8.2f} M')
    size = f'{args.size[0]} x {args.size[-1]}'
    print(f'{"backbone":9} {found.flops:>15,} operations  {found.flops / 1e9:8.2f} G  ({size} px)')
