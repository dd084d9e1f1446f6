"""Rewrite a file of any known layout under our names: both sides, heads, queues and centres.

The optimizer stays behind: start from the result with load_from.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from mmssl.apis import cli
from mmssl.apis.convert import METHODS, check_method
from mmssl.checkpoint import files, kinds, local_path, read
from mmssl.checkpoint.convert import epochs_done, exported
from mmssl.checkpoint.dialects import detect


def main(argv: Sequence[str] | None = None) -> None:
    """Rewrite."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('src', help='file, or its address')
    parser.add_argument('dst', help='file to write')
    parser.add_argument('--selfsup', choices=METHODS, help='method; found out when left out')
    args = parser.parse_args(argv)
    content = read(local_path(args.src))
    kinds.refuse_other_tasks(content, args.src)
    spoken, foreign = detect(content, args.src)
    check_method(spoken.name, args.src, args.selfsup)
    ours, dropped = spoken.translate(foreign)
    if not any('backbone.' in name for name in ours):
        kinds.check(content, spoken, foreign, ours, args.src)
    meta = dict(source=spoken.name, export=exported(spoken, content, ours))
    meta['epoch'] = epochs_done(content)
    files.write({'state_dict': ours, 'meta': meta}, Path(args.dst))
    print(f'{args.src}: {spoken.name} file, {len(foreign)} tensors')
    print(f'{args.dst}: {len(ours)} tensors; dropped: {", ".join(dropped) or "nothing"}')


if __name__ == '__main__':
    cli.run(main)
