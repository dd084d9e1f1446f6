"""Rewrite a file of any known layout under our names: both branches, heads, queues and centres.

The optimizer stays behind: start from the result with load_from.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from ..checkpoint import file_kinds, local_path, read, save
from ..checkpoint.export import with_counters
from ..checkpoint.hyperparameters import METHODS
from ..checkpoint.layouts import detect
from ..checkpoint.load import epochs_done, exported
from ..core.errors import escaped
from ..transfer.network_settings import check_method


def main(argv: Sequence[str] | None = None) -> None:
    """Rewrite the file. Raises UserError when it holds no network or is of another method."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('src', help='file, or its address')
    parser.add_argument('dst', help='file to write')
    parser.add_argument('--selfsup', choices=METHODS, help='method; found out when left out')
    args = parser.parse_args(argv)
    content, note = file_kinds.backbone_of_task(read(local_path(args.src)), args.src)
    layout, foreign = detect(content, args.src)
    check_method(layout.name, args.src, args.selfsup)
    ours, dropped = layout.translate(foreign)
    ours = with_counters(ours)
    if not any('backbone.' in name for name in ours):
        file_kinds.check_pretraining(content, layout, foreign, ours, args.src)
    meta = dict(
        source=layout.name,
        export=exported(layout, content, ours),
        epoch=epochs_done(content),
    )
    save.write({'state_dict': ours, 'meta': meta}, Path(args.dst))
    print(f'{args.src}: {layout.name} file, {len(foreign)} tensors')
    if note:
        print(f'note: {note}')
    print(f'{args.dst}: {len(ours)} tensors; dropped: {escaped(", ".join(dropped)) or "nothing"}')
