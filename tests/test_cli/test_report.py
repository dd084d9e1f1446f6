"""The report tool on work dirs of several kinds."""

import shutil
import sys

import pytest

from mmssl.cli import report

from ..helpers.paths import REPO
from ..helpers.refusals import refuses
from ..helpers.tiny import losses, make_runner

LINEAR = """
_base_ = '{repo}/configs/_base_/linear.py'

data_root = '{data}'
view = dict(type='CenterView', size=16, resize=16)
train_dataloader = dict(
    batch_size=6, num_workers=0, persistent_workers=False,
    dataset=dict(pipeline=[dict(type='LoadImage'), dict(type='TrainView', size=16)]))
val_dataloader = dict(
    batch_size=6, num_workers=0, persistent_workers=False,
    dataset=dict(pipeline=[dict(type='LoadImage'), view]))
test_dataloader = val_dataloader
model = dict(
    backbone=dict(
        type='ResNet', depth=18, layers=(1, 1), width=4, small_stem=True),
    head=dict(num_classes=3))
pretrained = 'random'
optim_wrapper = dict(optimizer=dict(lr=0.1))
train_cfg = dict(max_epochs=2)
"""


@pytest.fixture(scope='module')
def tool():
    """Return the tool as a module."""
    return report


def test_a_pretraining(tiny_config, tmp_path, tool):
    losses(make_runner(tiny_config(), tmp_path))
    html = tool.main([str(tmp_path)]).read_text()
    for fact in ('24 images of 3 classes', 'among 24 training images', 'Green frames', 'RankMe'):
        assert fact in html
    assert html.count('<img') == 10  # loss, kNN, 4 of health, 2 sheets, 2 schedules


def test_a_linear_probe_of_a_convnet(image_folder, tmp_path, tool):
    config = tmp_path / 'linear.py'
    config.write_text(LINEAR.format(repo=REPO, data=image_folder))
    work_dir = tmp_path / 'run'
    losses(make_runner(config, work_dir))
    html = tool.main([str(work_dir), '--out', str(tmp_path / 'a.html')]).read_text()
    assert 'Classifier: run' in html and 'top-1 accuracy' in html.lower()
    assert 'no health numbers' in html


def test_without_checkpoint_data_or_config(tiny_config, tmp_path, tool, image_folder):
    data = tmp_path / 'data'
    shutil.copytree(image_folder, data)
    work_dir = tmp_path / 'run'
    losses(make_runner(tiny_config(), work_dir, data_root=str(data)))
    shutil.rmtree(data)
    assert f'No pictures: {data}' in tool.main([str(work_dir)]).read_text()
    for file in work_dir.glob('*.pth'):
        file.unlink()
    assert 'holds no checkpoint yet' in tool.main([str(work_dir)]).read_text()
    shutil.rmtree(work_dir)
    work_dir.mkdir()
    with refuses('folder', str(work_dir)):
        tool.main([str(work_dir)])


def test_a_run_that_imports_a_module_beside_its_config(tiny_config, tmp_path, tool, monkeypatch):
    """The copy of the config in the work dir has no such neighbour."""
    source = tmp_path / 'source'
    source.mkdir()
    (source / 'neighbour.py').write_text('"""Nothing."""\n')
    config = source / 'tiny.py'
    config.write_text(tiny_config().read_text() + "custom_imports = dict(imports=['neighbour'])\n")
    monkeypatch.setattr(sys, 'path', list(sys.path))
    losses(make_runner(config, tmp_path / 'run', train_cfg__max_epochs=1))
    monkeypatch.setattr(sys, 'path', [p for p in sys.path if p != str(source)])
    monkeypatch.delitem(sys.modules, 'neighbour')
    assert 'among 24 training images' in tool.main([str(tmp_path / 'run')]).read_text()
