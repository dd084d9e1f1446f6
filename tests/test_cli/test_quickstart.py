"""The quickstart with a network of two seconds: its files, its last line, and what it skips."""

import importlib
import json
import re
from pathlib import Path

import pytest

from mmssl.cli import quickstart

from ..helpers.tiny import write_config


@pytest.fixture
def called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let the tool call others within this process, in ``tmp_path``; return the names called."""
    names: list[str] = []

    def call(name: str, *args: str) -> None:
        names.append(name)
        module = importlib.import_module(f'mmssl.cli.{name.rpartition("/")[2]}')
        if name.endswith('make_shapes'):
            args = (*args, '--train-per-class', '3', '--val-per-class', '1')
        module.main(args)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(quickstart, 'call', call)
    monkeypatch.setattr('mmssl.cli.train_and_measure.call', call)
    return names


def test_from_shapes_to_report(tmp_path: Path, called, capsys) -> None:
    config = str(write_config(tmp_path, 'data/shapes'))
    words = ['--config', config, '--seed', '5', '--cfg-options', 'train_cfg.max_epochs=2']
    words += ['train_cfg.val_at_start=True', 'param_scheduler.0.warmup=0']
    quickstart.main(words)
    last = capsys.readouterr().out.splitlines()[-1]
    folder = Path('work_dirs/quickstart')
    said = re.fullmatch(r'quickstart: kNN top-1 ([\d.]+) -> ([\d.]+) %, report: (.*)', last)
    assert said and said[3] == str(folder / 'report.html')
    top1 = {f.stem: json.loads(f.read_text())['knn/top1'] for f in folder.glob('results/*.json')}
    assert set(top1) == {'random', 'pixels', 'pretrained'}
    assert said.groups()[:2] == (f'{top1["random"]:.1f}', f'{top1["pretrained"]:.1f}')
    lines = [json.loads(x) for f in folder.glob('*/vis_data/*.json') for x in f.open()]
    assert lines[0]['knn/top1'] == top1['random'], 'the monitor starts from the same network'
    run = json.loads((folder / 'run.json').read_text())['sessions'][0]
    assert (run['seed'], run['epoch']) == (5, 2)
    assert (
        f'{[x["loss"] for x in lines if "loss" in x][-1]:.3f}'
        in (folder / 'report.html').read_text()
    )

    stamp = (folder / 'epoch_2.pth').stat().st_mtime_ns
    del called[:]
    quickstart.main(words)
    assert capsys.readouterr().out.splitlines()[-1] == last
    assert called == ['dataset_tools/make_shapes', 'analysis_tools/report']
    assert (folder / 'epoch_2.pth').stat().st_mtime_ns == stamp
