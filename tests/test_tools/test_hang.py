"""A rank that hangs ends the job, and the error names it."""

import re
import shutil

import pytest

from ..helpers.command import free_port, start
from ..helpers.paths import REPO


@pytest.mark.slow
@pytest.mark.nightly
@pytest.mark.parametrize('kind', ['hang', 'kill'])
def test_the_job_ends_with_the_name_of_the_rank(tiny_config, tmp_path, kind):
    config = tmp_path / 'broken.py'
    shutil.copy(REPO / 'tools' / 'dev' / 'faults' / 'breaker.py', tmp_path)
    config.write_text(
        f"_base_ = '{tiny_config()}'\n"
        "custom_imports = dict(imports=['breaker'])\n"
        f"custom_hooks = [dict(type='Breaker', kind='{kind}', step=6, rank=1)]\n"
        'env_cfg = dict(dist_cfg=dict(timeout=10))\n'
    )
    done = start(
        *(config, 2, '--work-dir', tmp_path / 'w', '--cfg-options'),
        *('train_dataloader.batch_size=3', 'val_cfg=None', 'val_dataloader=None'),
        'val_evaluator=None',
        cwd=tmp_path,
        script='tools/dist_train.sh',
        PORT=free_port(),
    )
    assert done.code != 0
    lines = [line for line in done.err.splitlines() if line.startswith('error: rank 0')]
    assert len(lines) == 1, done.err
    told = {
        'hang': r"rank 0 \(.*\) has waited 10 s in '\w+' of step 6: rank 1 \(.*\) is behind: "
        r"step 5, working alone \(.*\) after 'agreement'\. Ending the job",
        'kill': r"rank 0, step 6: lost the other processes in '\w+': rank 1 \(.*\) gives no sign",
    }[kind]
    assert re.search(told, lines[0])
    assert 'continue with --resume' in lines[0]
    assert (tmp_path / 'w' / 'epoch_1.pth').is_file()
