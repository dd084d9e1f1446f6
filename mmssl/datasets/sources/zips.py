"""Source of zip archives with a map of labels, as MoBY and EsViT keep ImageNet."""

import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from ...core import UserError, dist
from ...core.errors import NoData
from ...registry import DATASETS
from .base import MAX_BYTES, Names, RandomFile, Source, class_labels, existing, numbered
from .lists import labelled_lines
from .what_is_data import data_places, is_image

CACHES = ('no', 'part', 'full')
STORED, DEFLATED = zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED


class Archive:
    """Members of a zip file, their table kept as an array: a million ``ZipInfo`` take a gigabyte.

    Raises NoData when there is no such file, UserError when it is not a complete archive.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file = RandomFile(path)
        try:
            with zipfile.ZipFile(existing(path, 'archive')) as archive:
                infos = [info for info in archive.infolist() if not info.is_dir()]
        # names, versions and fields that cannot be are other exceptions than damage
        except (zipfile.BadZipFile, NotImplementedError, ValueError, struct.error) as error:
            raise UserError(
                f'{path}: not a complete zip archive ({error}); copy it again',
                key='file',
                value=str(path),
            ) from None
        self.names = [info.filename for info in infos]
        self.size = path.stat().st_size
        table = [
            (
                min(i.header_offset, self.size),
                min(i.compress_size, self.size),
                min(i.file_size, MAX_BYTES + 1),
                i.CRC,
                i.compress_type,
            )
            for i in infos
        ]
        self.table = np.array(table, np.int64).reshape(-1, 5)  # (M, 5)

    def read(self, row: int) -> bytes:
        """Return the bytes of member ``row``.

        Raises ValueError when it is damaged or has more than `MAX_BYTES`.
        """
        offset, packed, size, crc, method = self.table[row].tolist()
        if size > MAX_BYTES:
            raise ValueError(f'a member of more than {MAX_BYTES} bytes')
        header = self.file.read(offset, 30)
        if len(header) < 30 or header[:4] != b'PK\3\4':
            raise ValueError('damaged member: no header where the archive has it')
        name, extra = struct.unpack('<HH', header[26:30])
        content = self.file.read(offset + 30 + name + extra, packed)
        if method == DEFLATED:
            try:
                content = zlib.decompressobj(-15).decompress(content, size + 1)
            except zlib.error as error:
                raise ValueError(f'damaged member: {error}') from None
        elif method != STORED:
            raise ValueError(f'compression method {method} is unknown; use stored or deflated')
        if len(content) != size or zlib.crc32(content) != crc:
            raise ValueError('damaged member: its check sum is wrong')
        return content


def read_map(path: Path) -> tuple[list[str], list[int]]:
    """Return members and labels of a map with lines ``path<TAB>label`` or ``zip@/path<TAB>label``.

    Raises NoData when there is no map, UserError when a line has another form or only some have
    the label -1, which stands for none.
    """
    rows = labelled_lines(path, 'map', 'path<TAB>label')
    for number, _, label in rows:
        if (label < 0) != (rows[0][2] < 0):
            raise UserError(
                f'{path}, line {number}: some labels are -1, which stands for none; give all '
                'images a label, or none',
                key='file',
                value=str(path),
            )
    members = [name.partition('.zip@')[2] if '.zip@' in name else name for _, name, _ in rows]
    return [member.strip('/') for member in members], [label for _, _, label in rows]


@DATASETS.register_module()
class ZipSource(Source):
    """``data_root/<split>.zip``, listed by ``<split>_map.txt`` (MoBY's and EsViT's lines).

    Images keep the map's order; without a map they are sorted, and folders are classes.
    ``cache`` holds file bytes in memory: 'no', 'full', or 'part', the share of this rank, and
    then every rank trains on its share only, as MoBY does. A member that the map lists and the
    archive lacks is an unreadable image. Raises NoData when there is no archive or no image in
    it, UserError when it is damaged, a line of the map has another form, or ``cache`` is unknown.
    """

    def __init__(
        self, data_root: str = '', split: str = 'train', cache: str = 'no', with_label: bool = True
    ) -> None:
        if cache not in CACHES:
            raise UserError(
                f"dataset.source.cache='{cache}' is unknown; use {', '.join(CACHES)}",
                key='dataset.source.cache',
                value=cache,
            )
        root = Path(data_root)
        self.archive = Archive(root / f'{split}.zip')
        rows = {name: row for row, name in enumerate(self.archive.names)}
        listed = root / f'{split}_map.txt'
        if listed.is_file():
            members, labels = read_map(listed)
            kept = data_places(members, listed)
            members = [members[i] for i in kept]
            labels = [labels[i] for i in kept]
            classes = numbered(labels)
        else:
            kept = data_places(self.archive.names, self.archive.path)
            known = (m for m in (self.archive.names[i] for i in kept) if is_image(m))
            members = sorted(known, key=PurePosixPath)
            classes, labels, self.unlabelled = class_labels(members, self.archive.path)
        if not members:
            raise NoData(
                f'{self.archive.path}: no images in it; correct data_root or split',
                key='file',
                value=str(self.archive.path),
            )
        self.rows = np.array([rows.get(member, -1) for member in members], np.int64)
        self.members = Names(members)
        self.archive.names = []  # held by `members`, in less memory
        if with_label and any(label >= 0 for label in labels):
            self.classes = classes
            self.labels = labels
        self.cached: dict[int, bytes] = {}
        if cache != 'no':
            self._fill(cache)

    def _fill(self, cache: str) -> None:
        """Read all files into memory, or this rank's; a damaged one fails when it is read."""
        begin = 0
        step = 1
        if cache == 'part':
            begin = dist.rank()
            step = dist.world_size()
            self.locality = 'rank'
        for i in range(begin, len(self), step):
            try:
                self.cached[i] = self.read(i)
            except (OSError, ValueError):
                continue

    def __len__(self) -> int:
        return len(self.members)

    def index(self) -> Iterator[Any]:
        """Yield the paths in the archive."""
        yield from self.members.buffers()

    def key(self, i: int) -> str:
        """Return the path in the archive."""
        found: str = self.members[i]
        return found

    def name(self, i: int) -> str:
        """Return archive@/member."""
        return f'{self.archive.path}@/{self.members[i]}'

    def read(self, i: int) -> bytes:
        """Return the member's bytes."""
        if i in self.cached:
            return self.cached[i]
        if self.rows[i] < 0:
            raise FileNotFoundError('the archive has no such member')
        return self.archive.read(int(self.rows[i]))
