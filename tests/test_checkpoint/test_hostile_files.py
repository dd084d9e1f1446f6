"""Files that try to exhaust memory, read out of bounds, or pass as something else."""

import io
import json
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from mmssl.checkpoint import load, read
from mmssl.checkpoint.reader.archive import MAGIC, PROTOCOL
from mmssl.checkpoint.reader.builders import Refused
from mmssl.models.backbones import ResNet

from ..helpers.refusals import refuses


class Storage:
    """A reference to a storage: what torch's pickler writes."""

    def __init__(self, count: Any, kind: str = 'FloatStorage', key: str = '0') -> None:
        self.pid = ('storage', getattr(torch, kind), key, 'cpu', count)


class Tensor:
    """A tensor as its pickle says."""

    def __init__(self, storage: Storage, offset: Any, size: Any, stride: Any) -> None:
        self.args = (storage, offset, size, stride, False, {})

    def __reduce__(self) -> Any:
        return torch._utils._rebuild_tensor_v2, self.args


def pickled(content: Any) -> bytes:
    """Pickle with references to storages."""
    file = io.BytesIO()
    pickler = pickle.Pickler(file, protocol=2)
    pickler.persistent_id = lambda o: o.pid if isinstance(o, Storage) else None
    pickler.dump(content)
    return file.getvalue()


def zipped(path: Path, content: Any, stored: bytes, kind: int = zipfile.ZIP_STORED) -> Path:
    """Write a zip as torch does, with one storage."""
    with zipfile.ZipFile(path, 'w', kind) as archive:
        data = content if isinstance(content, bytes) else pickled(content)
        archive.writestr('x/data.pkl', data)
        archive.writestr('x/byteorder', b'little')
        archive.writestr('x/data/0', stored)
    return path


def stream(path: Path, content: Any, stored: bytes, count: int) -> Path:
    """Write the older container with one storage."""
    head = (MAGIC, PROTOCOL, dict(little_endian=True))
    parts = [pickle.dumps(part, 2) for part in head]
    parts += [pickled(content), pickle.dumps(['0'], 2), struct.pack('<q', count), stored]
    path.write_bytes(b''.join(parts))
    return path


def both(path: Path, content: Any, stored: bytes, count: int) -> list[Path]:
    """Write the content in both containers."""
    a, b = path / 'a.pth', path / 'b.pth'
    return [zipped(a, content, stored), stream(b, content, stored, count)]


def test_honest_files_of_this_kind_are_read(tmp_path: Path) -> None:
    numbers = torch.arange(6.0)
    content = {'w': Tensor(Storage(6), 1, (2, 2), (1, 2))}
    for path in both(tmp_path, content, numbers.numpy().tobytes(), 6):
        assert torch.equal(read(path)['w'], numbers.as_strided((2, 2), (1, 2), 1))


SHAPES = {
    'negative strides': (6, 0, (2, 2), (-1, 1), 'negative strides'),
    'negative offset': (6, -3, (2,), (1,), 'negative strides'),
    'beyond its storage': (6, 3, (4,), (1,), 'shape (4,) on a storage of 6'),
    'far beyond': (6, 0, (2, 2), (1, 2**40), 'on a storage of 6'),
    'repeating without end': (6, 0, (2**40,), (0,), 'on a storage of 6'),
    'too many dimensions': (6, 0, (1,) * 70, (1,) * 70, 'senseless shape'),
    'shapes without strides': (6, 0, (2, 3), (1,), 'senseless shape'),
    'sizes that are no numbers': (6, 0, (2.0,), (1,), 'senseless shape'),
    'sizes that are truth values': (6, True, (2,), (1,), 'senseless shape'),
    'more than stored': (2**45, 0, (2,), (1,), 'elements declared'),
    'a negative count': (-1, 0, (2,), (1,), 'senseless size'),
}


@pytest.mark.parametrize('name', SHAPES)
def test_shapes_that_reach_outside(name: str, tmp_path: Path) -> None:
    count, offset, size, stride, reason = SHAPES[name]
    content = {'w': Tensor(Storage(count), offset, size, stride)}
    for path in both(tmp_path, content, bytes(24), 6):
        with refuses('file', str(path)) as caught:
            read(path)
        assert reason in str(caught.value)


def test_a_storage_has_one_type(tmp_path: Path) -> None:
    content = {
        'a': Tensor(Storage(3), 0, (3,), (1,)),
        'b': Tensor(Storage(3, 'IntStorage'), 0, (3,), (1,)),
    }
    for path in both(tmp_path, content, bytes(24), 3):
        with refuses('file', str(path)) as caught:
            read(path)
        assert 'one storage under two types' in str(caught.value)


def test_truth_values_are_zero_or_one(tmp_path: Path) -> None:
    content = {'w': Tensor(Storage(3, 'BoolStorage'), 0, (3,), (1,))}
    for path in both(tmp_path, content, b'\x00\x01\xff', 3):
        assert read(path)['w'].view(torch.uint8).tolist() == [0, 1, 1]


# bombs --------------------------------------------------------------------------------------------
def test_compressed_entries(tmp_path: Path) -> None:
    content = {'w': Tensor(Storage(2**22), 0, (2**22,), (1,))}
    path = zipped(tmp_path / 'x.pth', content, bytes(2**24), zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 2**16
    with refuses('file', str(path)) as caught:
        read(path)
    assert isinstance(caught.value.__context__, Refused)
    assert 'compressed' in str(caught.value)


def test_overlapping_entries(tmp_path: Path) -> None:
    """Fifield's bomb: many entries of the directory lead to the same bytes."""
    path = zipped(tmp_path / 'x.pth', {}, bytes(5000))
    data = bytearray(path.read_bytes())
    start = data.rindex(b'PK\x05\x06')
    directory = struct.unpack('<I', data[start + 16 : start + 20])[0]
    last = data.rindex(b'PK\x01\x02')
    copies = bytes(data[last:start]) * 50
    end = bytearray(data[start:])
    end[8:16] = struct.pack('<HHI', 53, 53, start - directory + len(copies))
    path.write_bytes(bytes(data[:start]) + copies + bytes(end))
    with zipfile.ZipFile(path) as archive:
        assert len(archive.infolist()) == 53
    with refuses('file', str(path)) as caught:
        read(path)
    assert 'overlap' in str(caught.value)


CALL = b'ccollections\nOrderedDict\n'
BOMBS: dict[str, tuple[bytes, str]] = {
    # each call copies the text before it
    'copies': (
        b'\x80\x02c_codecs\nencode\nq\x000X' + struct.pack('<I', 2**20) + b'a' * 2**20
        + b'\x85q\x01' + b'0h\x00h\x01R' * 100 + b'.',
        'grow far beyond its own size',
    ),
    'calls': (b'\x80\x02' + CALL + b')R0' * 1 + (CALL + b')R0') * 300_000 + b'N.', 'grow far'),
    'steps': (b'\x80\x02' + b']0' * 1_100_000 + b'N.', 'more than 2000000 steps'),
    # a memo of four billion entries: the unpickler written in C reserves it
    'memo': (b'\x80\x02Nr\xff\xff\xff\xff}.', ''),
    'bytearray': (b'\x80\x05\x96' + struct.pack('<Q', 2**40) + b'.', 'damaged'),
    'text': (b'\x80\x04\x8d' + struct.pack('<Q', 2**40) + b'x.', 'damaged'),
    'nested keys': (b'\x80\x02}N' + b'\x85' * 500_000 + b'Ns.', 'a tuple as the key of a dict'),
    'list of a tensor': (b'\x80\x02c__builtin__\nlist\n(U\x04abcdtR.', 'else than a list'),
}  # fmt: skip


@pytest.mark.parametrize('name', BOMBS)
def test_pickles_that_grow(name: str, tmp_path: Path) -> None:
    import resource

    data, reason = BOMBS[name]
    path = zipped(tmp_path / 'x.pth', data, b'')
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if reason:
        with refuses('file', str(path)) as caught:
            read(path)
        assert reason in str(caught.value)
        assert isinstance(caught.value.__context__, Refused) is (reason != 'damaged')
    else:
        assert read(path) == {}
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 400 * 1024  # kB


def test_safetensors_that_lie(tmp_path: Path) -> None:
    def header(**entry: Any) -> bytes:
        text = json.dumps({'w': entry}).encode()
        return struct.pack('<Q', len(text)) + text + bytes(24)

    lies = [
        struct.pack('<Q', 2**62) + b'{}',
        header(dtype='F32', shape=[2**40], data_offsets=[0, 24]),
        header(dtype='F32', shape=[6], data_offsets=[0, 2**40]),
        header(dtype='F32', shape=[-6], data_offsets=[0, 24]),
        header(dtype='O8', shape=[3], data_offsets=[0, 24]),
        struct.pack('<Q', 100_000) + b'[' * 100_000,
    ]
    path = tmp_path / 'x.safetensors'
    for data in lies:
        path.write_bytes(data)
        with refuses('file', str(path)) as caught:
            read(path)
        assert f'{path}: ' in str(caught.value)


# what is read but does not fit --------------------------------------------------------------------
@pytest.mark.parametrize(
    ('change', 'reason'),
    [
        (lambda v: (100 * v).int(), 'int32 for float32'),
        (lambda v: v.to(torch.complex64), 'complex64 for float32'),
        (lambda v: v.bool(), 'bool for float32'),
        (lambda v: v / 0, 'with numbers that are not finite'),
    ],
)
def test_tensors_of_another_type(change: Callable, reason: str, tmp_path: Path) -> None:
    net = ResNet(layers=(1, 1, 1, 1), width=4)
    state = net.state_dict()
    state['net.layer2.0.conv1.weight'] = change(state['net.layer2.0.conv1.weight'])
    torch.save({'state_dict': state}, tmp_path / 'x.pth')
    with refuses('file', str(tmp_path / 'x.pth')) as caught:
        load(net, tmp_path / 'x.pth')
    assert f'net.layer2.0.conv1.weight {reason}' in str(caught.value)
