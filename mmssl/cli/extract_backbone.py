"""Write one backbone of any checkpoint, linear classifiers included, for a library or for us.

DST ending in .safetensors is written as such.
"""

from collections.abc import Sequence

from .converter_report import run_converter


def main(argv: Sequence[str] | None = None) -> None:
    """Extract the backbone. Raises UserError for a file without one."""
    run_converter(__doc__, argv, target=None)
