"""The command mmssl: its subcommands, names of recipes, models and the doctor."""

import importlib
import shutil
import sys
from importlib import metadata
from pathlib import Path

import pytest

from mmssl.apis import get_model, load_config
from mmssl.cli import command, models
from mmssl.engine.hooks.run_info_hook import command_line
from mmssl.transfer import library_of
from mmssl.zoo.hub import ModelHub, identify, recipes

from ..helpers.paths import REPO
from ..helpers.refusals import refuses

# tools that make or compare the data of examples and benchmarks, and names of one conversion each
TOOLS_ALONE = {'camvid', 'penn_fudan', 'make_shapes', 'transfer_demo',
               'count_params', 'gpu', 'selfsup2mmdet', 'selfsup2mmseg',
               'torchrun', 'replay_golden'}  # fmt: skip
RECIPE = 'esvit_swin-tiny-w7_16xb32-amp-mcrop-coslr-300e_in1k'


@pytest.fixture(autouse=True)
def words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, 'argv', ['/x/bin/mmssl'])


def test_each_tool_is_a_command() -> None:
    tools = {f.stem for f in (REPO / 'tools').rglob('*.py') if 'dev' not in f.parts}
    commands = {c.module for c in command.COMMANDS.values()}
    assert tools - TOOLS_ALONE == commands - {'doctor', 'models'}
    for name in commands:
        assert callable(importlib.import_module(f'mmssl.cli.{name}').main)


def test_commands_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    command.main([])
    listed = capsys.readouterr().out
    assert all(f'\n  {name} ' in listed for name in command.COMMANDS)
    command.main(['--version'])
    assert capsys.readouterr().out == f'mmssl {metadata.version("mmssl")}\n'


def test_a_command_gets_the_words_and_its_own_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = importlib.import_module('mmssl.cli.plan')
    monkeypatch.setattr(module, 'main', lambda argv: (argv, command_line()))
    given = ['x.py', '--memory', '2 G']
    assert command.main(['plan', *given]) == (given, "mmssl plan x.py --memory '2 G'")
    monkeypatch.setattr(sys, 'argv', ['tools/plan.py', 'a b'])
    assert command_line() == "python tools/plan.py 'a b'"


def test_an_unknown_command() -> None:
    with refuses('command', 'trian') as caught:
        command.main(['trian', 'x.py'])
    assert 'train' in str(caught.value)


# names of recipes ---------------------------------------------------------------------------------
def test_recipes_by_name() -> None:
    by_name, by_path = load_config(RECIPE), load_config(recipes()[RECIPE])
    assert by_name.to_dict() == by_path.to_dict()
    assert by_name.filename == str(recipes()[RECIPE])
    assert not ModelHub.has(RECIPE)  # its weights are published under another name
    assert type(get_model(RECIPE)).__name__ == 'EsViT'
    files = {f.stem for f in (REPO / 'configs').rglob('*.py') if '_base_' not in f.parts}
    assert set(recipes()) == files
    assert library_of('mask-rcnn_r18-w32_fpn_8e_pennfudan') == 'mmdet'
    assert library_of(RECIPE) is None


def test_a_file_comes_before_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(recipes()['dino_vit-small-p16_8xb64-amp-mcrop-coslr-100e_in1k'], RECIPE)
    text = Path(RECIPE).read_text().replace('../_base_', str(REPO / 'configs' / '_base_'))
    Path(RECIPE).write_text(text)
    with refuses('file', RECIPE):  # mmengine reads files that end in .py
        load_config(RECIPE)


def test_no_such_recipe() -> None:
    wrong = RECIPE.replace('swin-tiny', 'swin-tini')
    with refuses('file', wrong) as caught:
        load_config(wrong)
    assert RECIPE in str(caught.value)


# models -------------------------------------------------------------------------------------------
def test_lists(capsys: pytest.CaptureFixture[str]) -> None:
    found = models.main(['*mocov3*linear*'])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == found
    assert all(ModelHub.get(str(name)).weights for name in found)
    entry = 'resnet50_mocov3-100e-pre_8xb128-linear-coslr-90e_in1k'
    (line,) = [line for line in lines if line.startswith(entry)]
    assert 'Top 1 Accuracy 69.6' in line
    assert models.main(['--recipes', 'sere_vit-small*in1k']) == [
        'sere_vit-small-p16_1xb64-accum16-amp-mcrop-coslr-100e_in1k',
        'sere_vit-small-p16_8xb128-amp-mcrop-coslr-100e_in1k',
    ]
    with refuses('pattern', 'mocov4'):
        models.main(['mocov4'])


def test_downloads_for_machines_without_a_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = 'resnet50_mocov3-100e-pre_8xb128-linear-coslr-90e_in1k'
    file = tmp_path / 'cache' / 'x.pth'
    file.parent.mkdir()
    file.write_bytes(b'weights')
    monkeypatch.setattr(type(ModelHub.get(name)), 'fetch', lambda self: file)
    (found,) = models.main(['--download', name, '--to', str(tmp_path / 'to')])
    assert found == tmp_path / 'to' / f'{name}.pth'
    assert found.read_bytes() == b'weights'
    assert identify(str(found)) is ModelHub.get(name)
    assert identify(str(tmp_path / 'no' / found.name)) is None
    with refuses('name', 'mocov4'):
        models.main(['--download', name, 'mocov4', '--to', str(tmp_path / 'other')])
    assert not (tmp_path / 'other').exists()
    with refuses('--to', tmp_path):
        models.main(['--to', str(tmp_path)])
