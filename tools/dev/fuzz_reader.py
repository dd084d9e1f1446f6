"""Throw mutated checkpoints at the reader: it may refuse or read them, and nothing else.

Real files in torch's two containers and as safetensors are changed at random: bytes, spans,
opcodes, sizes and the names that a pickle calls; zip archives are closed again so that the
damage is met behind their checksums. Fails on any error but UserError, on any event that smells
of running something (Python's audit events), and on memory beyond --memory.
"""

import argparse
import codecs
import io
import pickletools
import random
import resource
import sys
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from mmssl.checkpoint import read
from mmssl.checkpoint.reader.read_file import Inert
from mmssl.cli.options import run_tool
from mmssl.core import UserError

GOLDEN = Path(__file__).resolve().parents[2] / 'tests' / 'golden'
FILES = ('esvit_linear_a/linear_checkpoint.pth.tar', 'moby_linear_a/linear_official.pth',
         'swav_r50_a/official_hub.pth', 'sere_vit_a/official.pth')  # fmt: skip
TENSORS = ('mocov3_lars_a/expect.safetensors', 'mocov3_loss_2rank_a/batch.safetensors')
NAMES = [b'os\nsystem\n', b'builtins\neval\n', b'builtins\ngetattr\n', b'torch\nload\n',
         b'numpy\nload\n', b'subprocess\nPopen\n', b'collections\nOrderedDict\n',
         b'torch._utils\n_rebuild_tensor_v2\n']  # fmt: skip
NUMBERS = [b'J\xff\xff\xff\xff', b'J\xff\xff\xff\x7f', b'\x8a\x08' + b'\xff' * 7 + b'\x7f',
           b'K\x00', b'r\xff\xff\xff\x7f', b'\x8e' + b'\xff' * 8,
           b'\x96\x00\x00\x00\x00\x01\x00\x00\x00', b'\x8d\x00\x00\x00\x00\x01\x00\x00\x00',
]  # fmt: skip
OPCODES = [op.code.encode('latin1') for op in pickletools.opcodes]
RUNNING = ('os.system', 'os.exec', 'os.posix_spawn', 'os.spawn', 'os.fork', 'subprocess.Popen',
           'socket.connect', 'exec', 'compile', 'shutil.rmtree', 'os.remove', 'code.__new__',
           'ctypes.dlopen', 'function.__new__', 'os.putenv', 'pty.spawn')  # fmt: skip


def sources() -> list[tuple[str, bytes]]:
    """Return (suffix, bytes) of real files in every container."""
    found = [('.pth', (GOLDEN / name).read_bytes()) for name in FILES]
    for name in FILES:
        content: Any = read(GOLDEN / name)
        if isinstance(content.get('args'), Inert):
            content['args'] = argparse.Namespace(**content['args'])
        content.pop('config', None)
        file = io.BytesIO()
        torch.save(content, file, _use_new_zipfile_serialization=False)
        found.append(('.pth', file.getvalue()))
    for name in TENSORS:
        read(GOLDEN / name)  # imports what it needs, before anybody watches
        found.append(('.safetensors', (GOLDEN / name).read_bytes()))
    return found


def change(data: bytes, draw: random.Random, near: int | None = None) -> bytes:
    """Change bytes in one to four places, within the first ``near`` if given."""
    found = bytearray(data)
    for _ in range(draw.randint(1, 4)):
        at = draw.randrange(min(len(found), near or len(found)) or 1)
        kind = draw.randrange(7)
        if kind == 0 and found:
            found[at % len(found)] = draw.randrange(256)
        elif kind == 1:
            found[at:at] = draw.choice(OPCODES) * draw.choice((1, 1, 5, 1000))
        elif kind == 2:
            del found[at : at + draw.choice((1, 2, 40))]
        elif kind == 3:
            found[at : at + 5] = draw.choice(NUMBERS)
        elif kind == 4:
            found[at:at] = found[at : at + draw.choice((10, 200))] * draw.choice((1, 50))
        elif kind == 5:
            found[at:at] = b'c' + draw.choice(NAMES) + draw.choice((b'', b')R', b'(tR', b'U\x01xQ'))
        else:
            old = draw.choice(
                (b'collections\nOrderedDict\n', b'torch._utils\n_rebuild_tensor_v2\n')
            )
            found = bytearray(bytes(found).replace(old, draw.choice(NAMES), draw.choice((1, 9))))
    return bytes(found[: draw.randrange(len(found) or 1)] if draw.random() < 0.05 else found)


def mutate(suffix: str, data: bytes, draw: random.Random) -> bytes:
    """Change a file, within its container or as a whole."""
    if suffix != '.pth' or draw.random() < 0.2:
        return change(data, draw, draw.choice((None, 4000)))
    if data[:2] != b'PK':
        return change(data, draw, 30_000)
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(file, 'w') as new:
        for entry in old.infolist():
            part = old.read(entry)
            if entry.filename.endswith('data.pkl'):
                part = change(part, draw, draw.choice((None, 600)))
            elif draw.random() < 0.02:
                part = change(part, draw)
            new.writestr(entry.filename, part)
    return file.getvalue()


def watch(events: list[str]) -> Callable[[str, Any], None]:
    """Return an audit hook that notes what a reader has no reason to do."""

    def hook(event: str, args: Any) -> None:
        writes = event == 'open' and isinstance(args[1], str) and set(args[1]) & set('wax+')
        if event in RUNNING or (writes and str(args[0]) != str(logged_embeddings[0])):
            events.append(f'{event} {args!r:.200}')

    return hook


logged_embeddings: list[Any] = [None]


def main(argv: Sequence[str] | None = None) -> dict[str, int]:
    """Fuzz and print what happened."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--count', type=int, default=100_000)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--memory', type=int, default=1024, help='MB beyond those at the start')
    args = parser.parse_args(argv)
    files, draw, events = sources(), random.Random(args.seed), []
    for codec in ('cp437', 'raw_unicode_escape', 'unicode_escape'):
        codecs.lookup(codec)  # imports them before anybody watches
    done = dict(read=0, refused=0, damaged=0)
    sys.addaudithook(watch(events))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with tempfile.TemporaryDirectory(dir='/dev/shm' if Path('/dev/shm').is_dir() else None) as d:
        for i in range(args.count):
            # mostly the small ones, whose pickles are no simpler
            suffix, data = files[draw.choice((0, 0, 0, 4, 4, 4, 8, 9, draw.randrange(10)))]
            logged_embeddings[0] = path = Path(d) / f'x{suffix}'
            path.write_bytes(mutate(suffix, data, draw))
            events.clear()
            try:
                read(path)
                done['read'] += 1
            except UserError as error:
                done['refused' if ': refused,' in str(error) else 'damaged'] += 1
            except BaseException:
                kept = Path(tempfile.gettempdir()) / f'fuzz-{args.seed}-{i}{suffix}'
                kept.write_bytes(path.read_bytes())
                print(f'input {i} of seed {args.seed}, kept as {kept}:', file=sys.stderr)
                raise
            if events:
                raise UserError(f'input {i} of seed {args.seed} did more than reading: {events[0]}')
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024
    print(f'{args.count} inputs, seed {args.seed}: {done}, memory +{grown} MB, nothing was run')
    if grown > args.memory:
        raise UserError(f'memory grew by {grown} MB')
    return done


if __name__ == '__main__':
    run_tool(main)
