"""Strip a training file to its weights and name it by its hash: DST-<8 digits>.pth.

Optimizer, settings (with their paths) and random states are left out.
"""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from mmssl import __version__
from mmssl.apis import cli
from mmssl.checkpoint import files, read
from mmssl.checkpoint.convert import content_state, epochs_done
from mmssl.checkpoint.reader import file_hash


def main(argv: Sequence[str] | None = None) -> Path:
    """Publish; return the file's path."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('src', help='training file of ours')
    parser.add_argument('dst', help='file to write, the hash is added')
    args = parser.parse_args(argv)
    content, dst = read(args.src), Path(args.dst)
    state = content_state(content, args.src)
    known = content.get('meta') if isinstance(content.get('meta'), dict) else {}
    meta = {k: v for k, v in known.items() if k in ('model', 'export', 'source')}
    meta |= dict(version=__version__, epoch=epochs_done(content))
    beside = dst.with_name(f'.{dst.stem}.unnamed{dst.suffix or ".pth"}')
    files.write({'state_dict': state, 'meta': meta}, beside)
    final = dst.with_name(f'{dst.stem}-{file_hash(beside)}{dst.suffix or ".pth"}')
    os.replace(beside, final)
    print(f'{final}: {len(state)} tensors, sha256 {file_hash(final, 64)}')
    return final


if __name__ == '__main__':
    cli.run(main)
