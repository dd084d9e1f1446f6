"""Files are read without running anything that they name."""

import argparse
import collections
import pathlib
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from mmssl.checkpoint import read
from mmssl.checkpoint.reader.read_file import Inert, file_hash

from ..helpers.paths import GOLDEN
from ..helpers.refusals import refuses

WEIGHTS = {'conv1.weight': torch.arange(6.0).view(2, 3), 'count': torch.tensor(3)}


# what official files hold -------------------------------------------------------------------------
@pytest.mark.parametrize('zipped', [True, False])
def test_plain_content_survives(zipped: bool, tmp_path: Path) -> None:
    content = {
        'state_dict': collections.OrderedDict(WEIGHTS),
        'half': torch.ones(3, dtype=torch.bfloat16),
        'view': torch.arange(12).view(3, 4).T[1:, ::2],
        'parameter': torch.nn.Parameter(torch.ones(2)),
        'epoch': 7,
        'lr': 0.1,
        'names': ['a', ('b', None, True)],
        'set': {1, 2},
        'size': torch.Size([2, 3]),
        'dtype': torch.float16,
        'device': torch.device('cpu'),
        'bytes': b'\x00\xff',
        'default': collections.defaultdict(list),
    }
    path = tmp_path / 'x.pth'
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    found = read(path)
    assert found.keys() == content.keys()
    for key, value in content['state_dict'].items():
        assert torch.equal(found['state_dict'][key], value)
    for key in ('half', 'view', 'parameter'):
        assert torch.equal(found[key], content[key])
        assert found[key].dtype == content[key].dtype
    for key in ('epoch', 'lr', 'names', 'set', 'size', 'dtype', 'device', 'bytes'):
        assert found[key] == content[key]
        assert type(found[key]) is type(content[key])
    assert found['default'] == {}


def test_settings_objects_are_inert(tmp_path: Path) -> None:
    args = argparse.Namespace(arch='vit_small', crops=(0.4, 1.0), nested=argparse.Namespace(a=1))
    torch.save({'args': args, 'out': pathlib.PosixPath('/a/b')}, tmp_path / 'x.pth')
    found = read(tmp_path / 'x.pth')
    assert type(found['args']) is Inert
    assert found['args'] == {'arch': 'vit_small', 'crops': (0.4, 1.0), 'nested': {'a': 1}}
    assert type(found['args']['nested']) is Inert
    assert type(found['out']) is Inert


def test_settings_class_that_is_not_installed(tmp_path: Path) -> None:
    """A yacs node is a dict with attributes; yacs itself is not needed to read it."""
    module = types.ModuleType('yacs.config')

    class CfgNode(dict):
        pass

    CfgNode.__module__, CfgNode.__qualname__ = 'yacs.config', 'CfgNode'
    module.CfgNode = CfgNode
    node = CfgNode(MODEL=CfgNode(TYPE='moby'), EPOCHS=300)
    node.__dict__['__immutable__'] = True
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, 'yacs', types.ModuleType('yacs'))
        patch.setitem(sys.modules, 'yacs.config', module)
        torch.save({'config': node}, tmp_path / 'x.pth')
    found = read(tmp_path / 'x.pth')['config']
    assert found['MODEL'] == {'TYPE': 'moby'}
    assert found['EPOCHS'] == 300


@pytest.mark.parametrize(
    'value', [np.float64(0.3), np.float32(0.5), np.int64(-7), np.bool_(True), np.int16(300)]
)
@pytest.mark.parametrize('module', ['numpy._core.multiarray', 'numpy.core.multiarray'])
def test_numpy_scalars_become_numbers(value: Any, module: str, tmp_path: Path) -> None:
    path = tmp_path / 'x.pth'
    torch.save({'lr': value}, path, _use_new_zipfile_serialization=False)
    # older numpy wrote the shorter name
    data = path.read_bytes()
    assert b'numpy._core.multiarray' in data
    path.write_bytes(data.replace(b'numpy._core.multiarray', module.encode()))
    found = read(path)['lr']
    assert found == value
    assert type(found) in (float, int, bool)


def test_recorded_extras() -> None:
    moby = read(GOLDEN / 'moby_swin_a' / 'official.pth')
    assert moby['config']['MODEL']['TYPE'] == 'moby'
    assert type(moby['config']['MODEL']) is Inert
    swav = read(GOLDEN / 'swav_r50_a' / 'official.pth')
    lr = swav['optimizer']['param_groups'][0]['lr']
    assert lr == pytest.approx(0.38076923076923075, rel=1e-15)
    assert type(lr) is float
    sere = read(GOLDEN / 'sere_vit_a' / 'official.pth')
    assert sere['args']['overlap_size'] == [5, 4]


def test_safetensors(tmp_path: Path) -> None:
    save_file(WEIGHTS, tmp_path / 'x.safetensors')
    found = read(str(tmp_path / 'x.safetensors'))
    assert found.keys() == WEIGHTS.keys()
    assert all(torch.equal(found[key], value) for key, value in WEIGHTS.items())


def test_tensors_of_a_gpu_come_to_the_cpu(tmp_path: Path) -> None:
    """A file that names a device this machine lacks, as the official ones do."""
    path = tmp_path / 'x.pth'
    torch.save({'w': torch.ones(3)}, path, _use_new_zipfile_serialization=False)
    data = path.read_bytes()
    # protocol 2 writes the storage's device as a string of three letters
    changed = data.replace(b'X\x03\x00\x00\x00cpu', b'X\x06\x00\x00\x00cuda:0', 1)
    assert changed != data
    path.write_bytes(changed)
    assert read(path)['w'].device.type == 'cpu'
    assert read(path)['w'].tolist() == [1, 1, 1]


# what is no checkpoint ----------------------------------------------------------------------------
@pytest.mark.parametrize('share', [0.0, 0.02, 0.5, 0.98])
@pytest.mark.parametrize('zipped', [True, False])
def test_truncated_file(share: float, zipped: bool, tmp_path: Path) -> None:
    path = tmp_path / 'x.pth'
    content = {'state_dict': {'w': torch.randn(100, 30)}, 'epoch': 3}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    with refuses('file', str(path)) as caught:
        read(path)
    assert 'readable checkpoint' in str(caught.value)


@pytest.mark.parametrize('data', [b'', b'<html>404</html>', b'\x89PNG\r\n', b'PK\x03\x04' * 9])
def test_other_files(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / 'x.pth'
    path.write_bytes(data)
    with refuses('file', str(path)):
        read(path)


def test_damaged_safetensors(tmp_path: Path) -> None:
    path = tmp_path / 'x.safetensors'
    save_file(WEIGHTS, path)
    path.write_bytes(path.read_bytes()[:-4])
    with refuses('file', str(path)) as caught:
        read(path)
    assert 'readable safetensors' in str(caught.value)


def test_hash_of_a_file(tmp_path: Path) -> None:
    (tmp_path / 'x').write_bytes(b'abc')
    assert file_hash(tmp_path / 'x') == 'ba7816bf'
    assert file_hash(tmp_path / 'x', 12) == 'ba7816bf8f01'
