"""The transfer demo: what belongs to which start, and steps whose logs are in files."""

import json
import os
import signal
import threading
import time
from pathlib import Path

import pytest
import torch

from mmssl.cli import logged_tools, transfer_demo
from mmssl.cli.logged_tools import Job, run_logged

from ..helpers.refusals import refuses

METRICS = {'coco/bbox_mAP': 0.151, 'coco/segm_mAP': 0.1, 'mIoU': 20.0}


@pytest.mark.transfer
def test_metrics_of_another_start_are_not_shown(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    for seed in (0, 1):
        torch.manual_seed(seed)
        torch.save({'x': torch.rand(3)}, tmp_path / f'{seed}.pth')

    def arguments(*words: str):
        return transfer_demo.parse(['--work-dir', str(tmp_path / 'demo'), *words])

    args = arguments()
    found = transfer_demo.job('detector', '0.pth', args)
    assert found is not None
    assert [name for name, _ in found.calls] == ['train', 'test']
    assert 'pretrained=0.pth' in found.calls[0][1]
    metrics = tmp_path / 'demo' / 'detector' / 'metrics.json'
    metrics.write_text(json.dumps(METRICS))
    assert transfer_demo.job('detector', '0.pth', args) is None
    assert transfer_demo.scores('detector', args) == {'box AP': 15.1, 'mask AP': 10.0}
    (tmp_path / '0.pth').rename(tmp_path / 'same.pth')
    assert transfer_demo.job('detector', 'same.pth', args) is None

    for start, words in (
        ('random', ()),
        ('1.pth', ()),
        ('1.pth', ('--cfg-options', 'train_cfg.max_epochs=1')),
    ):
        assert transfer_demo.job('detector', start, arguments(*words)) is not None
        assert not metrics.exists()
        with refuses('file', str(metrics)):
            transfer_demo.scores('detector', args)
        metrics.write_text(json.dumps(METRICS))
    assert (tmp_path / 'demo' / 'detector.1' / 'metrics.json').exists()


@pytest.mark.transfer
def test_scenes_are_counted(tmp_path: Path) -> None:
    from mmssl.cli.make_shapes import write_scenes

    write_scenes(tmp_path / 'scenes', 64, 3, 2, 0, False)
    assert transfer_demo.scenes({'data_root': str(tmp_path / 'scenes')}) == (3, 2)


# logged tools -------------------------------------------------------------------------------------
TOOL = """
import sys, time
text, status, seconds = sys.argv[1:]
print(text, flush=True)
time.sleep(float(seconds))
sys.exit(int(status))
"""


@pytest.fixture
def tools(tmp_path: Path, monkeypatch) -> Path:
    """Let tools/say.py print a text, wait and end with a status."""
    (tmp_path / 'tools').mkdir()
    (tmp_path / 'tools' / 'say.py').write_text(TOOL)
    monkeypatch.setattr(logged_tools, 'REPO', tmp_path)
    monkeypatch.setattr(logged_tools, 'POLL', 0.01)
    return tmp_path


def test_output_is_in_files_and_little_is_printed(tools: Path, capsys) -> None:
    calls = [('say', ('first', '0', '0')), ('say', ('second', '0', '0'))]
    run_logged(Job('a', tools / 'a.log', calls), Job('b', tools / 'logs' / 'b.log', calls[:1]))
    assert (tools / 'a.log').read_text() == 'first\nsecond\n'
    assert (tools / 'logs' / 'b.log').read_text() == 'first\n'
    assert len(capsys.readouterr().out.splitlines()) == 4
    run_logged()


def test_the_log_of_a_failure_is_named_and_others_end(tools: Path) -> None:
    slow = Job('slow', tools / 'slow.log', [('say', ('waits', '0', '60'))])
    bad = Job('bad', tools / 'bad.log', [('say', ('fails', '3', '0')), ('say', ('not', '0', '0'))])
    with refuses('file', str(tools / 'bad.log')) as caught:
        run_logged(slow, bad)
    assert 'status 3' in str(caught.value)
    assert (tools / 'bad.log').read_text() == 'fails\n'


def test_a_signal_ends_the_tools_and_what_they_started(tools: Path) -> None:
    code = 'import os, subprocess, sys; print(os.getpid(), flush=True); '
    code += "subprocess.run([sys.executable, '-c', 'import time; time.sleep(60)'])"
    (tools / 'tools' / 'say.py').write_text(code)
    log = tools / 'a.log'

    def interrupt() -> None:
        while not (log.exists() and log.read_text().strip()):
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=interrupt).start()
    with pytest.raises(SystemExit) as stopped:
        run_logged(Job('a', log, [('say', ())]))
    assert stopped.value.code == 128 + signal.SIGTERM
    with pytest.raises(ProcessLookupError):  # soon: what was started is another's to reap
        for _ in range(1000):
            os.killpg(int(log.read_text()), 0)
            time.sleep(0.01)


@pytest.mark.parametrize(
    ('line', 'share'),
    [
        ('Epoch(train) [1][4/4]  lr: 1.0e-05  eta: 0:00:30  time: 0.3', 0.25),
        ('epoch 1/32  step 1/64  loss 4.1  left 1 day, 0:00:30', 10 / (10 + 86430)),
        ('nothing of time', 0.0),
    ],
)
def test_the_time_left_is_read_from_the_log(
    line: str, share: float, tools: Path, monkeypatch
) -> None:
    call = ('say', (line, '0', '5'))
    running = logged_tools._Running(Job('a', tools / 'a.log', [call, call]), 1)
    assert running.proceed()
    while not (tools / 'a.log').read_text():
        pass
    monkeypatch.setattr(logged_tools.time, 'monotonic', lambda: running.since + 10)
    assert running.share() == pytest.approx(share / 2)
    running.stop()
