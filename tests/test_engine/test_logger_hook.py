"""Lines come by iterations and by time; a bar is shown on a terminal only."""

import io
import re
import sys
from types import SimpleNamespace

import pytest

from mmssl.core import progress
from mmssl.engine.hooks import logger_hook

from ..helpers.refusals import refuses
from ..helpers.tiny import losses, make_runner, scalars

OFF = dict(val_cfg=None, val_dataloader=None, val_evaluator=None)


def steps(screen):
    """Return (epoch, step) of each line of progress."""
    found = re.findall(r'epoch (\d+)/\d+  step (\d+)/\d+  loss', screen)
    return [(int(epoch), int(step)) for epoch, step in found]


@pytest.fixture
def clock(monkeypatch):
    """Let each look at the clock cost a second."""
    ticks = iter(range(10**6))
    clock = SimpleNamespace(monotonic=lambda: float(next(ticks)))
    monkeypatch.setattr(logger_hook, 'time', clock)


def test_the_first_step_is_shown(tiny_config, tmp_path, capsys):
    options = dict(OFF, default_hooks__logger__interval=3, train_cfg__max_epochs=2)
    losses(make_runner(tiny_config(), tmp_path, **options))
    assert steps(capsys.readouterr().out) == [(1, 1), (1, 3), (2, 3)]
    assert [line['step'] for line in scalars(tmp_path) if 'loss' in line] == [1, 3, 7]


def test_a_resumed_run_shows_its_first_step(tiny_config, tmp_path, capsys):
    options = dict(OFF, default_hooks__logger__interval=3)
    losses(make_runner(tiny_config(), tmp_path, **options, train_cfg__max_epochs=1))
    capsys.readouterr()
    losses(make_runner(tiny_config(), tmp_path, **options, train_cfg__max_epochs=2, resume=True))
    assert steps(capsys.readouterr().out) == [(2, 1), (2, 3)]


def test_lines_by_time_without_an_interval(tiny_config, tmp_path, capsys, clock):
    logger = dict(type='LoggerHook', interval=1000, silence=5, ignore_last=True)
    losses(make_runner(tiny_config(), tmp_path, **OFF, default_hooks__logger=logger))
    shown = [4 * (epoch - 1) + step for epoch, step in steps(capsys.readouterr().out)]
    by_time = [1, 6, 11]  # each iteration looks once
    ends = [4, 8, 12]
    assert shown == sorted({*by_time, *ends})


def test_an_interval_below_one_is_refused(tiny_config, tmp_path):
    with refuses('default_hooks.logger.interval', 0):
        make_runner(tiny_config(), tmp_path, default_hooks__logger__interval=0)


def test_loops_without_iterations_of_the_runner_speak_too(capsys, monkeypatch):
    seconds = iter([0.0, 59.0, 61.0, 61.0, 100.0, 121.5, 121.5])
    monkeypatch.setattr(progress, 'time', SimpleNamespace(monotonic=lambda: next(seconds)))
    said = []
    monkeypatch.setattr(progress, 'print_log', lambda text, logger: said.append(text))
    with progress.LoopProgress('features of the bank', 9) as shown:
        for _ in range(4):
            shown.advance()
    assert said == ['features of the bank: 2 of 9', 'features of the bank: 4 of 9']


class Terminal(io.StringIO):
    """A standard output that says that it is a terminal."""

    def isatty(self):
        return True


@pytest.mark.parametrize('ends', ['well', 'by an error'])
def test_a_bar_on_a_terminal(tiny_config, tmp_path, monkeypatch, ends):
    monkeypatch.setenv('TERM', 'xterm')
    screen = Terminal()
    monkeypatch.setattr(sys, 'stdout', screen)
    runner = make_runner(tiny_config(), tmp_path, train_cfg__max_epochs=1)
    if ends == 'by an error':
        monkeypatch.setattr(runner.model, 'train_step', lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            runner.train()
    else:
        runner.train()
    text = screen.getvalue()
    assert sys.stdout is screen
    assert 'epoch 1/1' in text and f'{0 if ends == "by an error" else 4}/4' in text
    assert re.search(r'MoCoV3 on 24 images .* all details in \S+', text)
    if ends == 'well':
        assert re.search(r'epoch 1/1  step 4/4  loss .*  teacher_cosine \S+', text), 'one line'
    assert text.count('\x1b[?25l') == text.count('\x1b[?25h') > 0, 'the cursor is shown again'
    runner.logger.info('a line after it')
    assert screen.getvalue().rstrip().endswith('a line after it')


def test_no_bar_elsewhere(tiny_config, tmp_path, capsys):
    losses(make_runner(tiny_config(), tmp_path, train_cfg__max_epochs=1))
    assert '\x1b' not in capsys.readouterr().out
