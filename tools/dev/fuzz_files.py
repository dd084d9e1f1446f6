"""Mutate checkpoints, images, lists and shards by their fields, and read them by every reader.

fuzz_reader.py changes bytes; most of its inputs end at the first check. Here the change is one of
meaning: another operand or opcode of a pickle, another number in the header of an image or of a
tar entry (check sums are written again), another value in JSON or in a line of a list. So much of
it passes the first parser and meets what stands behind; the share is printed. Fails on any error
but UserError, and on memory above four times the input and 200 MB.
"""

import argparse
import io
import itertools
import json
import logging
import os
import pickle
import pickletools
import random
import struct
import sys
import tarfile
import tempfile
import time
import warnings
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from mmssl.checkpoint import load, read
from mmssl.checkpoint.layouts import detect
from mmssl.checkpoint.reader.archive import open_container
from mmssl.cli.options import run_tool
from mmssl.core import UserError
from mmssl.core.io import read_json, read_sessions
from mmssl.datasets import ImageDataset
from mmssl.datasets.sources.base import parsed
from mmssl.datasets.sources.lists import decoded
from mmssl.datasets.transforms import LoadImage
from mmssl.engine.state import validations, work_dir_files
from mmssl.models.backbones import ResNet

MEMORY = 200 * 2**20  # bytes beyond four times the input
LEAST = 0.3  # share of inputs that the first parser takes
PIXELS = 16_000_000  # of an image; two copies of it are below MEMORY
INTEGERS = (-1, 0, 1, 2, 7, 255, 2**31 - 1, 2**31, 2**32, 2**63, 10**12, 10**30, -(10**12), 10**600)
FLOATS = (0.0, -1.0, float('nan'), float('inf'), 1e308, 1e-308)
TEXTS = ('', 'x', 'x' * 3000, '\x1b[2J', '../../x', '/dev/zero', '²', '--1', '0x10', 'état',
         'a\tb', 'http://[', '1e9', '-1', '99999999999', '9' * 5000, 'a\nb', 'state_dict',
         'epoch')  # fmt: skip
ANYTHING = (*INTEGERS, *FLOATS, *TEXTS, None, True, [], {}, [[]], {'': {}})
FIELDS = (0, 1, 2, 255, 256, 4096, 65535, 2**31 - 1, 2**32 - 1)  # of headers
IMAGES = ('JPEG', 'PNG', 'WEBP', 'TIFF', 'BMP', 'GIF', 'PPM')
Input = tuple[Path, Callable[[], bool]]  # a file, and its readers: was the first parser passed?


def other_value(value: Any, draw: random.Random) -> Any:
    """Return another value for one of JSON: mostly of the same kind."""
    kinds: dict[type, Sequence[Any]] = {int: INTEGERS, float: FLOATS, str: TEXTS, bool: (0, '')}
    if draw.random() < 0.7 and type(value) in kinds:
        return draw.choice(kinds[type(value)])
    return draw.choice((*ANYTHING, [value] * 9))


def mutate_json(value: Any, draw: random.Random) -> Any:
    """Change one value at any depth, drop one, or add one."""
    if isinstance(value, (dict, list)) and value and draw.random() < 0.85:
        found: Any = value.copy()
        key = draw.choice(list(found)) if isinstance(found, dict) else draw.randrange(len(found))
        if draw.random() < 0.1:
            del found[key]
        else:
            found[key] = mutate_json(found[key], draw)
        return found
    return other_value(value, draw)


# pickles ------------------------------------------------------------------------------------------
def _push(value: Any) -> bytes:
    """Return the opcodes that put a value on the stack, and no more."""
    text = pickle.dumps(value, protocol=2)[2:-1]
    kept = [(op, at) for op, _, at in pickletools.genops(text + b'.')]
    spans = itertools.pairwise(kept)
    return b''.join(text[at:end] for (op, at), (_, end) in spans if 'PUT' not in op.name)


def mutate_pickle(data: bytes, draw: random.Random) -> bytes:
    """Change operands and opcodes of a pickle of protocol 2."""
    ops = list(pickletools.genops(data))
    ends = [at for _, _, at in ops[1:]] + [len(data)]
    parts = [data[at:end] for (_, _, at), end in zip(ops, ends, strict=True)]
    values = [i for i, (op, _, _) in enumerate(ops) if op.stack_after and not op.stack_before]
    values = [i for i in values if ops[i][0].name not in ('MARK', 'GLOBAL', 'PROTO')]
    for _ in range(draw.choice((1, 1, 2, 4))):
        how = draw.random()
        at = draw.choice(values)
        if how < 0.75 and 'GET' not in ops[at][0].name:
            parts[at] = _push(other_value(ops[at][1], draw))
        elif how < 0.85:
            parts[at] = parts[draw.choice(values)]
        elif how < 0.9:
            parts[at] += parts[at] * draw.choice((1, 100))
        elif how < 0.95:
            other = draw.randrange(2, len(parts) - 1)
            parts[other] = parts[draw.randrange(2, len(parts) - 1)]
        else:
            parts[draw.randrange(2, len(parts) - 1)] = b''
    return b''.join(parts)


def other_tensor(draw: random.Random) -> Any:
    """Return a tensor of another shape or type than most, or what is none."""
    shape = draw.choice(((), (0,), (1,), (3, 5, 7), (2, 2), (1,) * 60))
    dtype = draw.choice((torch.float32, torch.float64, torch.int64, torch.bool, torch.complex64))
    tensor = torch.ones(shape).to(dtype)
    return draw.choice((tensor, tensor, tensor * float('nan'), [], None, 'x', 7))


def mutate_content(value: Any, draw: random.Random) -> Any:
    """Change one entry of a checkpoint at any depth: its value, its name, or that it is there."""
    if isinstance(value, torch.Tensor):
        return other_tensor(draw)
    if not isinstance(value, (dict, list)) or not value or draw.random() < 0.05:
        return other_value(value, draw)
    found: Any = value.copy()
    key = draw.choice(list(found)) if isinstance(found, dict) else draw.randrange(len(found))
    how = draw.random()
    if how < 0.1:
        del found[key]
    elif how < 0.2 and isinstance(found, dict):
        name = draw.choice((*TEXTS, 7, None, True, 1.5, f'{key}.0', f'module.{key}'))
        found[name] = found.pop(key)
    else:
        found[key] = mutate_content(found[key], draw)
    return found


class Checkpoints:
    """Files of torch, in its zip, some of them training files of ours."""

    def __init__(self, folder: Path) -> None:
        self.model = ResNet(depth=18, layers=(1, 1), width=4, small_stem=True)
        state = {f'module.encoder_q.{k}': v for k, v in self.model.state_dict().items()}
        optimizer = torch.optim.AdamW(self.model.parameters())
        content = dict(
            format=6,
            meta=dict(version='0.2.0', run=dict(id='a', started=1.0), settings=dict(lr=0.1)),
            progress=dict(iter=4, per_epoch=4, batch=6, batch_size=6, processes=1, best=None),
            optimizer=dict(optimizer=optimizer.state_dict(), scaler={}),
            schedulers=[dict(last_step=1)],
            random=dict(torch=torch.zeros(1, 16, dtype=torch.uint8)),
        )
        own = dict(content, format=work_dir_files.FORMAT, state_dict=self.model.state_dict())
        moco = dict(epoch=7, arch='resnet', state_dict=state, optimizer=optimizer.state_dict())
        bare = dict(self.model.state_dict())
        self.contents = (own, moco, bare)
        self.files = []
        for each in self.contents:
            file = io.BytesIO()
            torch.save(each, file)
            with zipfile.ZipFile(file) as archive:
                parts = {name: archive.read(name) for name in archive.namelist()}
            self.files.append(parts)
        self.path = folder / 'x.pth'

    def make(self, draw: random.Random) -> Input:
        """Return a file of another content, or with other opcodes."""
        if draw.random() < 0.5:
            torch.save(mutate_content(draw.choice(self.contents), draw), self.path)
            return self.path, self.read
        with zipfile.ZipFile(self.path, 'w') as archive:
            for name, part in draw.choice(self.files).items():
                changed = mutate_pickle(part, draw) if name.endswith('data.pkl') else part
                archive.writestr(name, changed)
        return self.path, self.read

    def read(self) -> bool:
        """Open, load, and take for a training file."""
        try:
            open_container(self.path, True)
        except Exception:  # the first parser says in many ways that it cannot
            passed = False
        else:
            passed = True
        for call in (
            lambda: work_dir_files.open_training(self.path),
            lambda: work_dir_files.run_of(self.path),
            lambda: _translate(self.path),
            lambda: load(self.model, str(self.path), verbose=False),
        ):
            _allowed(call)
        return passed


def _translate(path: Path) -> None:
    layout, state = detect(read(path), str(path))
    layout.translate(state)


def _allowed(call: Callable[[], Any]) -> bool:
    """Whether a call succeeds; it may refuse in one line that is safe to print, and no more."""
    try:
        call()
    except UserError as error:
        text = str(error)
        assert text.isprintable(), ascii(text)
        assert len(text) < 20_000, len(text)  # a name of a list is repeated as it is
        return False
    return True


class Pictures:
    """Small images whose headers have other numbers."""

    def __init__(self, folder: Path) -> None:
        pixels = np.random.default_rng(0).integers(0, 255, (18, 24, 3), np.uint8)
        self.kinds = []
        for kind in IMAGES:
            file = io.BytesIO()
            Image.fromarray(pixels).save(file, kind)
            self.kinds.append((kind, file.getvalue()))
        self.load = LoadImage(max_pixels=PIXELS)
        self.path = folder / 'x.jpg'

    def make(self, draw: random.Random) -> Input:
        """Return an image with one or two other fields."""
        kind, data = draw.choice(self.kinds)
        found = bytearray(data)
        for _ in range(draw.choice((1, 1, 2))):
            _change_field(kind, found, draw)
        self.path.write_bytes(bytes(found))
        return self.path, self.read

    def read(self) -> bool:
        """Read header and pixels."""
        found: list[Any] = []
        if not _allowed(lambda: found.append(self.load.from_file(self.path))):
            return False
        _allowed(found[0].pixels)
        return True


def _change_field(kind: str, data: bytearray, draw: random.Random) -> None:
    """Put another number into a header field, or other bytes behind it."""
    span = {'PNG': 33, 'BMP': 54, 'GIF': 40, 'PPM': 12, 'WEBP': 40}.get(kind, min(len(data), 400))
    if kind == 'TIFF':  # its table stands at the end
        at = draw.choice((draw.randrange(8), max(0, len(data) - draw.randrange(1, 180))))
    else:
        at = draw.randrange(2, span)
    size = draw.choice((1, 1, 2, 4))
    order = '>' if kind in ('PNG', 'JPEG') else '<'
    number = draw.choice((*FIELDS, draw.randrange(2**32)))
    coded = struct.pack(f'{order}I', number)
    data[at : at + size] = coded[-size:] if order == '>' else coded[:size]
    if kind == 'PNG':  # or its check sum would be all that is met
        data[29:33] = struct.pack('>I', zlib.crc32(bytes(data[12:29])))


class Lists:
    """Lists, maps, tables and JSON files of data sets, with other values in their lines."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / 'lists'
        (self.root / 'a').mkdir(parents=True)
        for i in range(3):
            Image.new('RGB', (4, 4)).save(self.root / 'a' / f'{i}.png')
        rows = [f'a/{i}.png\t{i % 2}\tAAAA\n' for i in range(3)]
        (self.root / 'train.tsv').write_text(''.join(rows))
        self.starts = [sum(map(len, rows[:i])) for i in range(3)]
        (self.root / 'train.lineidx').write_text('\n'.join(map(str, self.starts)))
        with zipfile.ZipFile(self.root / 'train.zip', 'w') as archive:
            for i in range(3):
                archive.write(self.root / 'a' / f'{i}.png', f'a/{i}.png')
        self.kinds = (self.image_list, self.zip_map, self.offsets, self.chunks, self.label_map)
        self.kinds += (self.side_file,)  # type: ignore[assignment]

    def make(self, draw: random.Random) -> Input:
        """Return a mutated file of some kind."""
        return draw.choice(self.kinds)(draw)

    def _lines(self, rows: list[list[Any]], mark: str, draw: random.Random) -> str:
        changed = mutate_json(rows, draw)
        if not isinstance(changed, list):
            return str(changed)[:10_000]
        cells = [row if isinstance(row, list) else [row] for row in changed]
        return '\n'.join(mark.join(str(cell)[:10_000] for cell in row) for row in cells)

    def _with(self, file: str, text: str, **settings: Any) -> Input:
        path = self.root / file
        path.write_text(text, 'utf-8', errors='surrogateescape')

        def readers() -> bool:
            try:
                decoded(path.read_bytes())
                passed = not file.endswith(('.chunks', '.json')) or bool(parsed(text) or True)
            except ValueError:
                passed = False
            try:
                _allowed(lambda: _whole(ImageDataset(str(self.root), **settings)))
            finally:
                path.unlink() if file != 'train.lineidx' else path.write_text('0\n')
            return passed

        return path, readers

    def image_list(self, draw: random.Random) -> Input:
        """A list of images and labels."""
        rows = [[f'a/{i}.png', i % 2] for i in range(3)]
        text = self._lines(rows, draw.choice((' ', '\t', ',')), draw)
        return self._with('list.txt', text, ann_file='list.txt')

    def zip_map(self, draw: random.Random) -> Input:
        """The map of a zip archive."""
        text = self._lines([[f'a/{i}.png', i % 2] for i in range(3)], '\t', draw)
        return self._with('train_map.txt', text, split='train', source=dict(type='ZipSource'))

    def offsets(self, draw: random.Random) -> Input:
        """Where the rows of a TSV file begin."""
        text = self._lines([[start] for start in self.starts], ' ', draw)
        return self._with('train.lineidx', text, split='train', source=dict(type='TsvSource'))

    def chunks(self, draw: random.Random) -> Input:
        """Ranges of rows of each class."""
        text = json.dumps(mutate_json({'a': [0, 1], 'b': [2, 2]}, draw))
        return self._with('train.chunks', text, split='train', source=dict(type='TsvSource'))

    def label_map(self, draw: random.Random) -> Input:
        """Classes and their numbers."""
        text = self._lines([['a', 0], ['b', 1]], '\t', draw)
        source = dict(type='TsvSource', label_map='map.tsv')
        return self._with('map.tsv', text, split='train', source=source)

    def side_file(self, draw: random.Random) -> Input:
        """What a run leaves beside its checkpoints."""
        session = dict(command='x', seconds=1.0, peak_memory=3, epoch=1)
        notes = dict(run='a', ended={'4': 50.0, '8': None})
        content = draw.choice((dict(sessions=[session]), notes))
        path = self.root / validations.FILE
        path.write_text(json.dumps(mutate_json(content, draw)))

        def readers() -> bool:
            read_sessions(path)
            validations.find(self.root, 'a', 4)
            return read_json(path) is not None

        return path, readers


def _whole(data: ImageDataset) -> None:
    """Read all that a small data set claims to have."""
    data.index_digests()
    for i in range(min(len(data), 5)):
        _allowed(lambda i=i: data.read(i))  # type: ignore[misc]


class Shards:
    """Tar shards with other header fields, and their indices."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / 'shards'
        self.root.mkdir()
        file = io.BytesIO()
        with tarfile.open(fileobj=file, mode='w', format=tarfile.GNU_FORMAT) as tar:
            for i in range(3):
                for ending, content in (('jpg', b'image'), ('cls', b'0')):
                    entry = tarfile.TarInfo(f'{i:03d}.{ending}')
                    entry.size = len(content)
                    tar.addfile(entry, io.BytesIO(content))
        self.shard = file.getvalue()
        self.entries = [i for i in range(0, len(self.shard), 512) if self.shard[i + 257 : i + 262]]
        self.index = dict(shardlist=[dict(url='a.tar', nsamples=3, labels=[0, 1, 0])])

    def make(self, draw: random.Random) -> Input:
        """Return a mutated shard or index."""
        kind = draw.randrange(2)
        index = mutate_json(self.index, draw) if kind else self.index
        (self.root / 'train.json').write_text(json.dumps(index))
        (self.root / 'a.tar').write_bytes(self.shard if kind else self._other_header(draw))
        return self.root / 'a.tar', self.read

    def _other_header(self, draw: random.Random) -> bytes:
        """Put another value into a field of a header, and its check sum."""
        data = bytearray(self.shard)
        at = draw.choice(self.entries)
        begin, size = draw.choice(((0, 100), (100, 8), (124, 12), (136, 12), (156, 1), (157, 100)))
        number = b'%o' % draw.choice((0, 1, 5, 600, 8**7, 8**11 - 1))
        text = draw.choice((number, b'\x80' + b'\xff' * 11, draw.choice(TEXTS).encode(), b'LKxg5'))
        data[at + begin : at + begin + size] = text[:size].ljust(size, b'\0')
        data[at + 148 : at + 156] = b' ' * 8
        data[at + 148 : at + 156] = b'%06o\0 ' % sum(data[at : at + 512])
        return bytes(data)

    def read(self) -> bool:
        """Read index and samples."""
        found: list[Any] = []
        settings = dict(split='train', source=dict(type='ShardSource'))
        if not _allowed(lambda: found.append(ImageDataset(str(self.root), **settings))):
            return False
        _whole(found[0])
        return True


KINDS = dict(checkpoints=Checkpoints, images=Pictures, lists=Lists, shards=Shards)


def resident(peak: bool = False) -> int:
    """Return the bytes of memory of this process, now or at most since `forget_peak`."""
    name = 'VmHWM:' if peak else 'VmRSS:'
    status = Path('/proc/self/status').read_text()
    return 1024 * int(status.partition(name)[2].split()[0])


def forget_peak() -> None:
    """Let the peak begin anew."""
    Path('/proc/self/clear_refs').write_text('5')


@contextmanager
def silent() -> Iterator[None]:
    """Keep what logs, warnings and libraries of decoders say of damage off the screen."""
    level = logging.root.manager.disable
    logging.disable()
    screen, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            yield
    finally:
        logging.disable(level)
        os.dup2(screen, 2)
        os.close(screen)
        os.close(nowhere)


def main(argv: Sequence[str] | None = None) -> dict[str, float]:
    """Fuzz; print and return the share that passed the first parser, by kind."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--count', type=int, default=100_000, help='inputs of all kinds')
    parser.add_argument('--seed', type=int, default=0)
    args = parser.parse_args(argv)
    draw, passed, seen, most = random.Random(args.seed), Counter(), Counter(), 0
    begin = time.monotonic()
    shared = '/dev/shm' if Path('/dev/shm').is_dir() else None
    with tempfile.TemporaryDirectory(dir=shared) as folder:
        kinds = {name: kind(Path(folder)) for name, kind in KINDS.items()}
        for i in range(args.count):
            name = draw.choice(list(kinds))
            path, readers = kinds[name].make(draw)
            size = path.stat().st_size
            forget_peak()
            before = resident()
            try:
                with silent():
                    passed[name] += readers()
            except BaseException:
                print(f'input {i} of seed {args.seed}, {name}', file=sys.stderr)
                raise
            seen[name] += 1
            taken = resident(peak=True) - before
            most = max(most, taken)
            if taken > 4 * size + MEMORY:
                raise UserError(f'input {i} of seed {args.seed}, {name}: took {taken >> 20} MB')
    shares = {name: passed[name] / seen[name] for name in seen}
    said = ', '.join(f'{name} {seen[name]} ({share:.0%} passed)' for name, share in shares.items())
    print(
        f'{args.count} inputs, seed {args.seed}: {said}; at most {most >> 20} MB more, no foreign '
        f'error, {time.monotonic() - begin:.0f} s'
    )
    low = [name for name, share in shares.items() if share < LEAST]
    if low:
        raise UserError(f'of {", ".join(low)} less than {LEAST:.0%} pass the first parser')
    return shares


if __name__ == '__main__':
    run_tool(main)
