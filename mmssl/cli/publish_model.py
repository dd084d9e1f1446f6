"""Strip a training file to its weights and name it by its hash: DST-<8 digits>.pth.

Optimizer, settings (with their paths) and random states are left out.
"""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..checkpoint import read, save
from ..checkpoint.load import content_state, epochs_done
from ..checkpoint.reader.read_file import file_hash
from ..version import __version__

KEPT = ('model', 'export', 'source', 'classes')  # of what a training file says of itself


def main(argv: Sequence[str] | None = None) -> Path:
    """Write the file and return its path. Raises UserError for what is no training file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('src', help='training file of ours')
    parser.add_argument('dst', help='file to write, the hash is added')
    args = parser.parse_args(argv)
    content = read(args.src)
    state = content_state(content, args.src)
    meta: dict[str, Any] = {}
    known = content.get('meta')
    if isinstance(known, dict):
        meta = {key: known[key] for key in known if key in KEPT}
    meta |= dict(version=__version__, epoch=epochs_done(content))
    dst = Path(args.dst)
    ending = dst.suffix or '.pth'
    unnamed = dst.with_name(f'.{dst.stem}.unnamed{ending}')  # the name needs the written file
    save.write({'state_dict': state, 'meta': meta}, unnamed)
    final = dst.with_name(f'{dst.stem}-{file_hash(unnamed)}{ending}')
    os.replace(unnamed, final)
    print(f'{final}: {len(state)} tensors, sha256 {file_hash(final, 64)}')
    return final
