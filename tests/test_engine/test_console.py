"""Short log lines on the console, complete ones in the file."""

import re
from types import SimpleNamespace

import torch

from mmssl.engine.console import LineProcessor

from ..helpers.tiny import log, losses, make_runner, scalars


def test_screen_is_short_and_file_is_whole(tiny_config, tmp_path, capsys):
    losses(make_runner(tiny_config(), tmp_path, train_cfg__val_at_start=True))
    screen, file = capsys.readouterr().out, log(tmp_path)
    for secret in ('System environment', 'Config:', 'Hooks will be executed', 'Exp name'):
        assert secret in file
        assert secret not in screen
    assert 'Failed to search registry' not in file
    lines = [line for line in screen.splitlines() if line.strip()]
    assert all(re.match(r'\d\d:\d\d:\d\d  \S', line) for line in lines), screen
    assert len(lines) < 30
    first = next(i for i, line in enumerate(lines) if 'kNN top-1' in line)
    assert 'MoCoV3 on 24 images' in lines[first - 1]


def test_training_line_has_what_matters(tiny_config, tmp_path, capsys):
    losses(make_runner(tiny_config(), tmp_path))
    screen = capsys.readouterr().out
    last = [line for line in screen.splitlines() if 'epoch 3/3  step 4/4' in line]
    assert len(last) == 1
    assert re.search(
        r'loss \d\.\d{3} \(uniform \d\.\d{3}\)  lr \S+  data wait \d+%  left 0:00:00', last[0]
    )
    assert all(
        name in last[0] for name in ('embedding_std', 'rankme', 'teacher_cosine', 'momentum')
    )
    assert re.search(r'epoch 3  kNN top-1 \d+\.\d %  health/rankme [\d.]+$', screen, re.MULTILINE)


def test_the_share_of_waiting_is_that_of_the_scalars(tiny_config, tmp_path, capsys):
    losses(make_runner(tiny_config(), tmp_path, val_cfg=None, val_dataloader=None,
                       val_evaluator=None, train_cfg__val_interval=99))  # fmt: skip
    shown = [int(n) for n in re.findall(r'data wait (\d+)%', capsys.readouterr().out)]
    lines = [line for line in scalars(tmp_path) if 'data_time' in line]
    assert len(lines) == 12
    assert shown == [round(100 * line['data_time'] / line['time']) for line in lines]


def test_warnings_are_named_and_levels_return(tiny_config, tmp_path, capsys):
    runner = make_runner(tiny_config(), tmp_path)
    runner.logger.warning('mind the gap')
    runner.logger.info('and go on')
    lines = capsys.readouterr().out.splitlines()
    assert any(line.endswith('  warning: mind the gap') for line in lines)
    assert any(line.endswith('  and go on') for line in lines)


def test_the_peak_is_that_of_the_run(monkeypatch):
    """mmengine resets CUDA's peak at each line, so that run.json would get the last line's."""
    resets = []
    monkeypatch.setattr(torch.cuda, 'max_memory_allocated', lambda *_: 7 * 2**20)
    monkeypatch.setattr(torch.cuda, 'reset_peak_memory_stats', lambda *_: resets.append(1))
    assert LineProcessor()._get_max_memory(SimpleNamespace(model=None)) == 7
    assert resets == []
