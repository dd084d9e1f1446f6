"""Write one backbone of any checkpoint, linear classifiers included, for a library or for us.

DST ending in .safetensors is written as such.
"""

import argparse
from collections.abc import Sequence

from mmssl.apis import cli
from mmssl.apis.convert import convert
from mmssl.checkpoint.export import TARGETS


def main(argv: Sequence[str] | None = None) -> None:
    """Extract."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('src', help='any checkpoint, or its address')
    parser.add_argument('dst', help='file to write')
    parser.add_argument('--to', choices=TARGETS, default='mmssl', help='whose names it gets')
    parser.add_argument('--side', choices=['export', 'student', 'teacher'], default='export')
    args = parser.parse_args(argv)
    convert(args.src, args.dst, args.to, side=args.side)


if __name__ == '__main__':
    cli.run(main)
