"""Write the backbone of a self-supervised file for mmseg, and print the lines that use it.

Takes official files, those of mmselfsup and mmpretrain, and ours.
"""

import argparse
from collections.abc import Sequence

from mmssl.apis import cli
from mmssl.apis.convert import METHODS, convert


def main(argv: Sequence[str] | None = None) -> None:
    """Convert."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('src', help='pretraining file, or its address')
    parser.add_argument('dst', help='file to write')
    parser.add_argument('--selfsup', choices=METHODS, help='method; found out when left out')
    parser.add_argument('--side', choices=['export', 'student', 'teacher'], default='export')
    args = parser.parse_args(argv)
    convert(args.src, args.dst, 'mmseg', args.selfsup, args.side)


if __name__ == '__main__':
    cli.run(main)
