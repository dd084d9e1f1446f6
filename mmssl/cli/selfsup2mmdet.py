"""Write the backbone of a self-supervised file for mmdet, and print the config lines that use it.

Takes official files, those of mmselfsup and mmpretrain, and ours.
"""

from collections.abc import Sequence

from .converter_report import run_converter


def main(argv: Sequence[str] | None = None) -> None:
    """Convert the backbone. Raises UserError for a file without one."""
    run_converter(__doc__, argv, target='mmdet')
