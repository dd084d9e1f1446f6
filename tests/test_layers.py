"""Which room of the package may import which, and what an import may load."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from .helpers.imports import imported
from .helpers.paths import REPO

PACKAGE = REPO / 'mmssl'
# a room -> the rooms it may import from; `registry`, `version` are files beside them
LAYERS: dict[str, set[str]] = {
    'version': set(),
    'startup_signals': set(),
    'registry': set(),
    'core': set(),
    'functional': {'core'},
    'checkpoint': {'core', 'version'},
    'datasets': {'core', 'registry'},
    'optim': {'core', 'registry'},
    'models': {'core', 'functional', 'checkpoint', 'optim', 'registry'},
    'engine': {'core', 'functional', 'checkpoint', 'optim', 'registry', 'version'},
    'evaluation': {'core', 'functional', 'checkpoint', 'datasets', 'models', 'registry', 'version'},
    'zoo': {'core', 'checkpoint'},
    'config': {'core', 'checkpoint', 'registry', 'zoo'},
    'apis': {
        *(
            'core',
            'checkpoint',
            'datasets',
            'optim',
            'models',
            'evaluation',
            'registry',
            'zoo',
            'config',
        )
    },
    'results': {
        *('core', 'checkpoint', 'datasets', 'models', 'engine', 'evaluation', 'zoo', 'config'),
    },
    'reports': {'core', 'evaluation'},
    'analysis': {
        *('core', 'datasets', 'models', 'evaluation', 'registry', 'zoo', 'apis', 'reports'),
    },
    'planning': {
        *('core', 'functional', 'datasets', 'optim', 'models', 'engine', 'evaluation'),
        *('registry', 'reports'),
    },
    'transfer': {'core', 'checkpoint', 'models', 'engine', 'registry', 'zoo', 'config'},
}
LAYERS['replay'] = {'core', 'checkpoint', 'engine', 'config', 'registry'}
LAYERS |= {
    'gpu_check': {
        *('core', 'datasets', 'models', 'engine', 'registry', 'zoo', 'config'),
        *('planning', 'reports'),
    }
}
LAYERS['data_report'] = {
    *('core', 'datasets', 'evaluation', 'registry', 'apis', 'reports', 'analysis'),
}
LAYERS['encoder_report'] = {
    *('core', 'checkpoint', 'datasets', 'models', 'engine', 'evaluation', 'registry', 'version'),
    *('zoo', 'config', 'apis', 'results', 'reports', 'analysis', 'planning'),
}
LAYERS |= {'cli': set(LAYERS), '__init__': {'startup_signals', 'version', 'apis', 'zoo', 'config'}}
OPTIONAL = {'mmcv', 'mmdet', 'mmseg'}


def room(file: Path) -> str:
    return file.relative_to(PACKAGE).parts[0].removesuffix('.py')


FILES = sorted(PACKAGE.rglob('*.py'))


def test_there_is_something_to_check():
    assert {'core', 'functional', 'models', 'engine'} <= {room(f) for f in FILES}
    assert 'mmssl.core.errors.closest' in imported(PACKAGE / 'core' / 'schedule.py', PACKAGE)
    assert 'mmssl.registry.MODELS' in imported(PACKAGE / 'models' / 'necks' / 'mlp.py', PACKAGE)


@pytest.mark.parametrize('file', FILES, ids=lambda f: str(f.relative_to(PACKAGE)))
def test_imports_go_downwards(file):
    own = room(file)
    assert own in LAYERS, f'{own}: a new room; say in LAYERS what it may import'
    names = imported(file, PACKAGE)
    rooms = {n.split('.')[1] for n in names if n.startswith('mmssl.')}
    assert rooms - {own} <= LAYERS[own], f'{own} must not import {rooms - {own} - LAYERS[own]}'
    top = {n.split('.')[0] for n in names}
    assert not top & {'tools', 'configs', 'tests'}
    if own not in ('transfer', 'cli'):
        assert not top & OPTIONAL, f'{top & OPTIONAL} belong under mmssl/transfer'


def test_rooms_import_in_one_order():
    """The table itself has no cycle: a room imports from rooms that are listed before it."""
    order = list(LAYERS)
    for name, allowed in LAYERS.items():
        assert all(order.index(other) < order.index(name) for other in allowed), name


def test_the_engine_names_no_method():
    folder = PACKAGE / 'models' / 'algorithms'
    methods = {f.stem for f in folder.glob('*.py')} - {'__init__', 'base'}
    methods |= {
        node.name.lower()
        for file in folder.glob('*.py')
        for node in ast.parse(file.read_text()).body
        if isinstance(node, ast.ClassDef) and file.stem != 'base'
    }
    assert 'mocov3' in methods
    for file in (PACKAGE / 'engine').rglob('*.py'):
        tree = ast.parse(file.read_text())
        prose = {ast.get_docstring(n, clean=False) for n in ast.walk(tree) if hasattr(n, 'body')
                 and isinstance(n, (ast.Module, ast.ClassDef, ast.FunctionDef))}  # fmt: skip
        for node in ast.walk(tree):
            word = getattr(node, 'id', None) or getattr(node, 'attr', None)
            if isinstance(node, ast.Constant) and node.value not in prose:
                word = node.value
            assert str(word).lower() not in methods, f'{file.name} names {word}'


# files that may call torch's collectives; all others go through core.dist, which picks the group
COMMUNICATE = [f'core/{name}.py' for name in ('dist', 'launch', 'watchdog', 'sync_bn')]
COMMUNICATE += ['engine/fsdp.py', 'gpu_check/processes.py']  # the last tries groups itself
# what others may know: classes to ask for, and whether there is a group
HARMLESS = {
    'torch.distributed.tensor.DTensor',
    'torch.distributed.fsdp.FSDPModule',
    'mmengine.dist.is_distributed',
}


def communicates(file: Path, root: Path = PACKAGE) -> set[str]:
    """Return names of torch.distributed and mmengine.dist that a file uses, but harmless ones."""
    names = imported(file, root)
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Attribute):
            names.add(ast.unparse(node))
    rooms = ('torch.distributed', 'mmengine.dist', 'mmssl.core.dist.')
    return {n for n in names - HARMLESS if n.startswith(rooms)}


@pytest.mark.parametrize('file', FILES, ids=lambda f: str(f.relative_to(PACKAGE)))
def test_only_core_dist_chooses_a_group(file):
    """An NCCL group refuses tensors of the host, which no test on CPUs would show."""
    if str(file.relative_to(PACKAGE)) not in COMMUNICATE:
        assert not communicates(file)
        assert 'host_group' not in file.read_text()


@pytest.mark.parametrize('name', COMMUNICATE)
def test_files_that_communicate_are_seen(name):
    assert communicates(PACKAGE / name)


@pytest.mark.parametrize(
    'line',
    [
        'from torch import distributed as td',
        'import torch.distributed as td',
        'from torch.distributed import all_reduce',
        'import torch; torch.distributed.barrier()',
        'from mmengine.dist import all_gather',
        'from mmengine import dist; mmengine.dist.barrier()',
        'from mmssl.core.dist import gather',
    ],
)
def test_every_way_to_communicate_is_seen(line, tmp_path):
    file = tmp_path / 'file.py'
    file.write_text(line)
    assert communicates(file, tmp_path)


def python(code: str) -> str:
    """Run code in a fresh interpreter without a network."""
    guard = (
        'import socket, sys\n'
        'def refuse(*_, **__): raise OSError("no network in this test")\n'
        'socket.socket.connect = socket.getaddrinfo = socket.create_connection = refuse\n'
        f'sys.path.insert(0, {str(REPO)!r})\n'
    )
    found = subprocess.run(
        [sys.executable, '-c', guard + code], capture_output=True, text=True, cwd='/', check=False
    )
    assert found.returncode == 0, found.stderr
    return found.stdout


def test_importing_the_package_is_light():
    loaded = python('import mmssl; print(mmssl.__version__, *sys.modules)').split()
    assert loaded[0][0].isdigit()
    assert not set(loaded) & (OPTIONAL | {'torch', 'timm', 'torchvision', 'mmssl.models'})


@pytest.mark.slow
def test_the_core_works_without_mmcv_and_network():
    rooms = sorted(
        {room(f) for f in FILES if f.name == '__init__.py'} - {'transfer', 'cli', '__init__'}
    )
    code = f'import {", ".join(f"mmssl.{name}" for name in rooms)}\nprint(*sys.modules)'
    # blocked, not merely absent: an import attempt would fail
    blocked = ''.join(f'sys.modules[{name!r}] = None\n' for name in sorted(OPTIONAL))
    loaded = python(blocked + code).split()
    assert {'mmssl.engine.runner', 'mmssl.models.backbones.vit'} <= set(loaded)


@pytest.mark.slow
def test_models_by_name_need_no_mmcv_and_no_network():
    blocked = ''.join(f'sys.modules[{name!r}] = None\n' for name in sorted(OPTIONAL))
    code = (
        'import mmssl\n'
        "model = mmssl.get_model('mocov3_vit-small-p16_16xb256-amp-coslr-300e_in1k')\n"
        'print(type(model).__name__, len(mmssl.list_models()))'
    )
    said = python(blocked + code)
    assert 'not installed' not in said
    kind, count = said.split()[-2:]
    assert kind == 'MoCoV3' and int(count) > 70
