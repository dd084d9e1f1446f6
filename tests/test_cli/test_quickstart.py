"""The quickstart on a dozen images: its files, its output, and the steps it skips when repeated."""

import importlib
import json
import os
import random
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from PIL import Image

from mmssl.core.errors import NoData

from ..helpers.paths import REPO
from ..helpers.refusals import refuses
from ..helpers.tiny import write_config

TINY = ['train_cfg.max_epochs=2', 'train_cfg.val_at_start=True', 'param_scheduler.0.warmup=0']


def draw(folder: Path, count: int, color: tuple[int, int, int], size: int = 24) -> None:
    """Fill a folder with noisy images of one colour."""
    folder.mkdir(parents=True)
    rng = random.Random(str(folder))
    for i in range(count):
        image = Image.new('RGB', (size, size + i % 3), color)
        image.putpixel((rng.randrange(size), rng.randrange(size)), (255, 255, 255))
        image.save(folder / f'{i}.png')


def words(tmp_path: Path, data: Path) -> list[str]:
    """Return the command line for a tiny network."""
    config = str(write_config(tmp_path, tmp_path))
    return ['--data', str(data), '--config', config, '--cfg-options', *TINY]


def start(tmp_path: Path, data: Path) -> subprocess.CompletedProcess:
    """Run the tool as a user does, in ``tmp_path``."""
    return subprocess.run(
        [sys.executable, str(REPO / 'tools' / 'quickstart.py'), *words(tmp_path, data)],
        capture_output=True, text=True, cwd=tmp_path, check=False,
        env=os.environ | {'PYTHONPATH': str(REPO)},
    )  # fmt: skip


def module(name: str) -> ModuleType:
    """Return a command line as a module."""
    return importlib.import_module(f'mmssl.cli.{name}')


@pytest.fixture(scope='module')
def tool() -> ModuleType:
    """Return the tool as a module."""
    return module('quickstart')


@pytest.fixture
def here(tmp_path: Path, tool: ModuleType, monkeypatch) -> list[str]:
    """Let the tool call others within this process, in ``tmp_path``; return the names called."""
    called: list[str] = []

    def call(name: str, *args: str) -> None:
        called.append(name)
        module(name.rpartition('/')[2]).main(args)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tool, 'call', call)
    return called


@pytest.mark.nightly
def test_class_folders_from_images_to_report(tmp_path: Path, tool, here, capsys) -> None:
    data = tmp_path / 'my pictures, 2026'  # spaces and commas are usual in names of folders
    draw(data / 'red', 20, (200, 0, 0))
    draw(data / 'blue', 20, (0, 0, 200))
    found = start(tmp_path, data)
    assert found.returncode == 0, found.stdout + found.stderr
    work_dir = Path('work_dirs') / f'quickstart_{data.name}'
    last = found.stdout.splitlines()[-1]
    said = re.fullmatch(r'quickstart: kNN top-1 ([\d.]+) -> ([\d.]+) %, report: (.*)', last)
    assert said and said[3] == str(work_dir / 'report.html')

    folder = tmp_path / work_dir
    top1 = {f.stem: json.loads(f.read_text())['knn/top1'] for f in folder.glob('results/*.json')}
    assert set(top1) == {'random', 'pixels', 'pretrained'}
    assert said.groups()[:2] == (f'{top1["random"]:.1f}', f'{top1["pretrained"]:.1f}')
    assert top1['pixels'] == 100  # one colour each
    lines = [json.loads(x) for f in folder.glob('*/vis_data/*.json') for x in f.open()]
    assert lines[0]['knn/top1'] == top1['random'], 'the monitor starts from the same network'
    losses = [line['loss'] for line in lines if 'loss' in line]
    run_info = json.loads((folder / 'run.json').read_text())['sessions'][0]
    assert run_info['data'] == '32 images of 2 classes' and run_info['epoch'] == 2
    html = (folder / 'report.html').read_text()
    for fact in (f'{losses[-1]:.3f}', '32 images of 2 classes', 'the images nearest to it'):
        assert fact in html

    stamp = (folder / 'epoch_2.pth').stat().st_mtime_ns
    tool.main(words(tmp_path, data))
    assert capsys.readouterr().out.splitlines()[-1] == last
    assert here == ['analysis_tools/report']
    assert (folder / 'epoch_2.pth').stat().st_mtime_ns == stamp


def test_flat_folder_has_a_report_without_accuracy(tmp_path: Path, tool, here, capsys) -> None:
    draw(tmp_path / 'flat', 20, (0, 99, 0))
    tool.main(words(tmp_path, tmp_path / 'flat'))
    assert here == ['train', 'analysis_tools/report']
    said = capsys.readouterr().out
    path = Path('work_dirs') / 'quickstart_flat' / 'report.html'
    last = f'quickstart: pretrained on 20 images without labels, report: {path}'
    assert said.splitlines()[-1] == last
    assert said.count('kNN monitor off') == 1
    html = path.read_text()
    assert 'No accuracy: the images have no labels' in html and 'Green frames' not in html
    assert '20 images without labels' in html and 'the images nearest to it' in html


def test_bad_folder_is_one_line(tmp_path: Path) -> None:
    found = start(tmp_path, tmp_path / 'nowhere')
    assert found.returncode == 2
    assert found.stderr.strip() == (
        f'error: {tmp_path / "nowhere"}: no such folder; pass --data FOLDER with images in it'
    )


def test_folders_are_understood(tmp_path: Path, tool) -> None:
    for split, count in (('train', 16), ('val', 4)):
        for name in ('a', 'b'):
            draw(tmp_path / 'both' / split / name, count, (9, 9, 9))
    both = tool.user_data(tmp_path / 'both')
    assert (both.images, both.labelled) == (32, True)
    assert both.options == {'data_root': str(tmp_path / 'both')}

    (tmp_path / 'both' / 'val').rename(tmp_path / 'val')
    alone = tool.user_data(tmp_path / 'both')
    assert (alone.images, alone.labelled) == (26, True)  # 13 of each 16
    assert alone.options['val_dataloader.dataset.split'] == 'train'
    assert alone.options['val_dataloader.dataset.share'] == (0.8, 1.0)
    assert alone.options['val_cfg.bank.share'] == (0.0, 0.8)

    one = tool.user_data(tmp_path / 'both' / 'train' / 'a')
    assert (one.images, one.labelled) == (16, False)
    for i in range(16):
        draw(tmp_path / 'single' / str(i), 1, (9, 9, 9))
    assert not tool.user_data(tmp_path / 'single').labelled


def test_an_empty_folder_is_named(tmp_path: Path, tool) -> None:
    (tmp_path / 'empty').mkdir()
    with refuses('folder', str(tmp_path / 'empty'), NoData):
        tool.user_data(tmp_path / 'empty')


def test_own_images_are_seen_as_often(tool) -> None:
    cfg = tool.load_config(str(tool.CONFIG))
    usual, batch = cfg.train_cfg.max_epochs, cfg.train_dataloader.batch_size
    same = tool.training_length_options(str(tool.CONFIG), tool.SHAPES_IMAGES)
    assert same['train_cfg.max_epochs'] == usual and same['train_dataloader.batch_size'] == batch
    few = tool.training_length_options(str(tool.CONFIG), 20)
    assert few['train_cfg.max_epochs'] == round(usual * tool.SHAPES_IMAGES / 20)
    assert few['train_dataloader.batch_size'] == 20
    assert tool.training_length_options(str(tool.CONFIG), 10**7)['train_cfg.max_epochs'] == 1
