"""Modules that configs import by `custom_imports`."""

import sys

import pytest

from mmssl.apis import load_config
from mmssl.config.custom_imports import import_custom
from mmssl.registry import MODELS

from ..helpers.paths import REPO
from ..helpers.refusals import refuses

CONFIG = """
custom_imports = dict(imports={names}{more})
model = dict(type='{model}')
"""


@pytest.fixture
def folder(tmp_path):
    """Return an empty folder; afterwards forget the modules found in it."""
    path, known = list(sys.path), set(sys.modules)
    yield tmp_path
    sys.path[:] = path
    for name in set(sys.modules) - known:
        if name.startswith('stranger'):
            del sys.modules[name]


def write(folder, names, model, more=''):
    path = folder / 'config.py'
    path.write_text(CONFIG.format(names=names, model=model, more=more))
    return path


def module(folder, name, model):
    (folder / f'{name}.py').write_text(
        'from torch import nn\nfrom mmssl.registry import MODELS\n\n'
        f'@MODELS.register_module()\nclass {model}(nn.Module):\n    pass\n'
    )


def test_a_module_beside_the_config_is_found_before_types_are_checked(folder):
    module(folder, 'stranger1', 'Stranger1')
    load_config(write(folder, ['stranger1'], 'Stranger1'))
    assert MODELS.get('Stranger1').__name__ == 'Stranger1'
    load_config(write(folder, ['stranger1'], 'Stranger1'))  # twice is fine


def test_a_module_beside_the_base_is_found_too(folder):
    (folder / 'base').mkdir()
    module(folder / 'base', 'stranger2', 'Stranger2')
    base = write(folder / 'base', ['stranger2'], 'Stranger2')
    child = folder / 'child.py'
    child.write_text(f"_base_ = '{base}'\n")
    assert load_config(child).model.type == 'Stranger2'


def test_a_missing_module_is_named(folder):
    path = write(folder, ['stranger3'], 'MoCoV3')
    with refuses('custom_imports.imports', 'stranger3'):
        load_config(path)
    with pytest.warns(UserWarning, match='stranger3'):
        import_custom(dict(imports='stranger3', allow_failed_imports=True), [path])


def test_nothing_to_import():
    before = list(sys.path)
    import_custom(None, [REPO])
    assert sys.path == before


def test_a_helper_of_the_base_counts_as_used_when_the_child_takes_it(folder):
    (folder / 'base.py').write_text("kind = 'MLP'\n")
    child = folder / 'child.py'
    for taken in ('_base_.kind', '{{_base_.kind}}'):
        child.write_text(f"_base_ = './base.py'\nmodel = dict(type={taken}, dims=(2, 2))\n")
        cfg = load_config(child)
        assert cfg.model.type == 'MLP' and 'kind' not in cfg
    child.write_text("_base_ = './base.py'\nmodel = dict(type='MLP', dims=(2, 2))\n")
    with refuses('kind', 'MLP'):
        load_config(child)
