"""Run one check in this process: ``python -m mmssl.gpu_check.run_one NAME ...``."""

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

from .checks import CHECKS
from .parts import Parts


def main(argv: Sequence[str] | None = None) -> None:
    """Run the check of a name and write its parts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('name', choices=[check.name for check in CHECKS])
    parser.add_argument('--file', type=Path, required=True, help='JSON file to write')
    parser.add_argument('--seconds', type=float, required=True)
    parser.add_argument('--device', choices=('cpu', 'cuda'), required=True)
    parser.add_argument('--folder', type=Path, required=True, help='for files of its own')
    parser.add_argument('--data', type=Path)
    args = parser.parse_args(argv)
    logging.getLogger('mmengine').setLevel(logging.WARNING)
    parts = Parts(args.file, args.seconds, args.device, args.folder, args.data)
    check = next(check for check in CHECKS if check.name == args.name)
    check.load()(parts)
    parts.write(done=True)


if __name__ == '__main__':
    main()
