"""Pickles that would run code are refused with the name of the function, and nothing runs."""

import builtins
import operator
import os
import pickle
import shutil
import subprocess
from pathlib import Path

import pytest
import torch

from mmssl.checkpoint import read
from mmssl.checkpoint.reader.read_file import Inert, Refused

from ..helpers.payloads import Payload
from ..helpers.refusals import refuses

WEIGHTS = {'conv1.weight': torch.arange(6.0).view(2, 3), 'count': torch.tensor(3)}


def payloads(marker: Path) -> dict[str, tuple[Payload, str]]:
    """Objects that leave a mark, and the name that must be in the refusal."""
    code = f'open({str(marker)!r}, "w").close()'
    command = f'touch {marker}'
    return {
        'os.system': (Payload(os.system, command), 'posix.system'),
        'print': (Payload(builtins.print, 'EXECUTED'), 'builtins.print'),
        'eval': (Payload(builtins.eval, code), 'builtins.eval'),
        'exec': (Payload(builtins.exec, code), 'builtins.exec'),
        'getattr': (Payload(builtins.getattr, 'os', 'system'), 'builtins.getattr'),
        'open': (Payload(builtins.open, str(marker), 'w'), 'io.open'),
        'popen': (Payload(subprocess.Popen, ['touch', str(marker)]), 'subprocess.Popen'),
        'attrgetter': (Payload(operator.attrgetter, 'system'), 'operator.attrgetter'),
        'torch.load': (Payload(torch.load, str(marker)), 'torch.serialization.load'),
        'rmtree': (Payload(shutil.rmtree, str(marker.parent)), 'shutil.rmtree'),
        'pickle': (Payload(pickle.loads, b'N.'), 'pickle.loads'),
    }


NAMES = list(payloads(Path('/nowhere')))


@pytest.mark.parametrize('name', NAMES)
@pytest.mark.parametrize('kind', ['zip', 'legacy', 'pickle'])
def test_payload_is_refused_by_name(
    name: str, kind: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    marker, path = tmp_path / 'marker', tmp_path / 'x.pth'
    payload, named = payloads(marker)[name]
    content = {'state_dict': dict(WEIGHTS), 'args': {'deep': [payload]}}
    if kind == 'pickle':
        path.write_bytes(pickle.dumps(content['args'], protocol=2))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=kind == 'zip')
    with refuses('file', str(path)) as caught:
        read(path)
    assert f'it would call {named}.' in str(caught.value)
    assert isinstance(caught.value.__context__, Refused)
    assert not marker.exists()
    assert 'EXECUTED' not in capfd.readouterr().out


class Program(torch.nn.Module):
    """A module whose TorchScript runs a line while it is loaded."""

    def __init__(self) -> None:
        super().__init__()
        self.w = torch.nn.Parameter(torch.ones(2))

    @torch.jit.export
    def __getstate__(self) -> tuple[torch.Tensor, bool]:
        return self.w, self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[torch.Tensor, bool]) -> None:
        print('EXECUTED')
        self.w = state[0]
        self.training = state[1]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.w


def test_torchscript_is_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / 'x.pth'
    torch.jit.script(Program()).save(str(path))
    torch.jit.load(str(path))
    assert 'EXECUTED' in capfd.readouterr().out  # so it would be seen
    with refuses('file', str(path)) as caught:
        read(path)
    assert 'TorchScript' in str(caught.value)
    assert 'EXECUTED' not in capfd.readouterr().out


def crafted(*opcodes: bytes) -> bytes:
    """A bare pickle of protocol 4."""
    return b'\x80\x04' + b''.join(opcodes) + b'.'


def text(value: str) -> bytes:
    """Opcode of a short string."""
    return b'\x8c' + bytes([len(value)]) + value.encode()


@pytest.mark.parametrize(
    ('module', 'name'),
    [
        ('torch', '_utils.os.system'),
        ('torch._utils', '_rebuild_tensor_v2.__globals__'),
        ('collections', 'OrderedDict.__init__'),
        ('collections', 'abc.sys.modules'),
        ('torch', 'load'),
        ('torch', 'hub.load'),
        ('numpy', 'load'),
        ('numpy', 'dtype.__subclasses__'),
        ('mmssl.checkpoint.reader.read_file', 'torch.os.system'),
        ('os', 'XStorage'),
        ('torch.storage', '_load_from_bytes'),
        ('argparse', 'FileType'),
        ('pathlib', 'Path.unlink'),
        ('types', 'FunctionType'),
        ('builtins', 'object'),
        ('copyreg', '_reconstructor'),
    ],
)
def test_names_next_to_allowed_ones_are_refused(module: str, name: str, tmp_path: Path) -> None:
    """Dotted names reach past an allowed object; each must be refused as a whole."""
    path = tmp_path / 'x.pth'
    path.write_bytes(crafted(text(module), text(name), b'\x93'))
    with refuses('file', str(path)) as caught:
        read(path)
    assert f'it would call {module}.{name}' in str(caught.value)


@pytest.mark.parametrize(
    'spec', ['O', 'object', '|O8', 'i4, O'], ids=['O', 'object', 'O8', 'record']
)
def test_numpy_objects_are_refused(spec: str, tmp_path: Path) -> None:
    path = tmp_path / 'x.pth'
    call = (text('numpy'), text('dtype'), b'\x93', text(spec), b'\x85R')
    path.write_bytes(crafted(*call))
    with refuses('file', str(path)) as caught:
        read(path)
    assert 'numpy dtype' in str(caught.value)


def test_state_of_an_inert_object_sets_no_attribute(tmp_path: Path) -> None:
    """BUILD hands over any state: only dicts are taken, and only as entries."""
    path = tmp_path / 'x.pth'
    state = b'}' + text('__class__') + text('x') + b's' + text('update') + text('y') + b's'
    path.write_bytes(
        crafted(b'}', text('a'), text('argparse'), text('Namespace'), b'\x93)R', state, b'bs')
    )
    with refuses('file', str(path)) as caught:
        read(path)  # a bare pickle is no checkpoint, whatever it holds
    assert not isinstance(caught.value.__context__, Refused)
    inert = Inert()
    inert.__setstate__({'__class__': 'x', 'update': 'y'})
    assert type(inert) is Inert
    assert callable(inert.update)
    assert inert == {'__class__': 'x', 'update': 'y'}
    inert.__setstate__(['not', 'a', 'dict'])
    assert inert == {'__class__': 'x', 'update': 'y'}
