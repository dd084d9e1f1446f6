"""Read the two containers that torch writes: zip archives, and the streams before version 1.6.

Without torch, which trusts the sizes that a file declares. Here no memory is reserved before the
file is known to hold that much.
"""

import os
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from .builders import Refused
from .unpickle import Unpickler

PICKLE = 1 << 29  # bytes that a file may hold beside its tensors: names, numbers and logs
MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001


def open_container(path: Path, values: bool = True) -> Any:
    """Return the object a torch file holds; raise Refused, or anything for a damaged file.

    Without ``values`` the tensors of a zip archive are of the meta device, and are not read.
    """
    with open(path, 'rb') as file:
        zipped = file.read(4) == b'PK\x03\x04'
        file.seek(0)
        return _open_zip(file, values) if zipped else _open_stream(file)


def _size(file: BinaryIO) -> int:
    """Return the bytes of an open file."""
    return os.fstat(file.fileno()).st_size


def _flat(file: Any, dtype: torch.dtype, count: int) -> Tensor:
    """Read the next ``count`` elements -> (count); the caller knows that the file has them."""
    if not count:
        return torch.empty(0, dtype=dtype)
    data = bytearray(count * dtype.itemsize)
    if file.readinto(data) != len(data):
        raise EOFError('it ends within a tensor')
    if dtype == torch.bool:
        return torch.frombuffer(data, dtype=torch.uint8) != 0
    return torch.frombuffer(data, dtype=dtype)


# zip ----------------------------------------------------------------------------------------------
def _open_zip(file: BinaryIO, values: bool) -> Any:
    archive = zipfile.ZipFile(file)
    entries = archive.infolist()
    root = entries[0].filename.split('/')[0]
    names = {e.filename.removeprefix(f'{root}/'): e for e in entries}
    if 'constants.pkl' in names:
        raise Refused('it is a TorchScript program')
    if any(e.compress_type != zipfile.ZIP_STORED for e in entries):
        raise Refused('its entries are compressed, as torch never writes them')
    if sum(e.file_size for e in entries) > _size(file):
        raise ValueError('its entries overlap')
    if 'byteorder' in names and archive.read(names['byteorder']) != b'little':
        raise ValueError('its numbers are big-endian')
    if names['data.pkl'].file_size > PICKLE:
        raise Refused(f'it holds more than {PICKLE >> 20} MB beside its tensors')

    known: dict[str, Tensor] = {}

    def storage(dtype: torch.dtype, key: str, count: int) -> Tensor:
        entry = names[f'data/{key}']
        if count * dtype.itemsize > entry.file_size:
            raise ValueError(f'{count} elements declared, {entry.file_size} bytes stored')
        if not values:
            return torch.empty(count, dtype=dtype, device='meta')
        if key not in known:
            with archive.open(entry) as opened:
                known[key] = _flat(opened, dtype, entry.file_size // dtype.itemsize)
        if known[key].dtype != dtype:
            raise ValueError('one storage under two types')
        return known[key]

    data = archive.read(names['data.pkl'])
    return Unpickler(BytesIO(data), len(data), storage).load()


# before zip ---------------------------------------------------------------------------------------
def _open_stream(file: BinaryIO) -> Any:
    """Pickles of a number, a version, the system, the object and names; then the storages."""
    size = _size(file)
    head = BytesIO(file.read(PICKLE))
    known: dict[str, Tensor] = {}
    left = size

    def storage(dtype: torch.dtype, key: str, count: int) -> Tensor:
        nonlocal left
        if key not in known:
            left -= count * dtype.itemsize
            if left < 0:
                raise ValueError(f'{count} elements declared in {size} bytes')
            known[key] = torch.zeros(count, dtype=dtype)  # filled below
        if known[key].dtype != dtype:
            raise ValueError('one storage under two types')
        return known[key]

    def following() -> Any:
        return Unpickler(head, size, storage).load()

    if following() != MAGIC or following() != PROTOCOL:
        raise ValueError('not a file of torch')
    if following().get('little_endian') is not True:
        raise ValueError('its numbers are big-endian')
    content, keys = following(), following()
    file.seek(head.tell())
    for key in keys:
        flat = known[str(key)]
        if int.from_bytes(file.read(8), 'little') != len(flat):
            raise ValueError('a storage of another length than its tensor says')
        flat.copy_(_flat(file, flat.dtype, len(flat)))
    if len(keys) < len(known):
        raise EOFError('storages are missing')
    return content
