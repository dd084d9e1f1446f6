"""Arguments the shell scripts pass to srun, sbatch, scontrol and torchrun, recorded by stubs."""

import os
import signal
import subprocess
import time

import pytest

from ..helpers.paths import REPO

RECORD = '#!/usr/bin/env bash\nprintf "%s\\n" "$(basename "$0")" "$@" >>"$ASKED"\n'


@pytest.fixture
def shell(tmp_path):
    """Return a caller of a script: (status, what was asked, stderr), with stand-ins on PATH."""
    bins, asked = tmp_path / 'bin', tmp_path / 'asked'
    bins.mkdir()
    for name in ('srun', 'sbatch', 'scontrol', 'python'):
        (bins / name).write_text(RECORD)
        (bins / name).chmod(0o755)
    foreign = ('SLURM', 'GPU', 'MASTER', 'OMP')
    clean = {k: v for k, v in os.environ.items() if not k.startswith(foreign)}

    def call(script, *words, **environment):
        asked.unlink(missing_ok=True)
        done = subprocess.run(
            [str(REPO / 'tools' / script), *words],
            capture_output=True,
            text=True,
            check=False,
            cwd=tmp_path,
            env=clean | dict(PATH=f'{bins}:/usr/bin:/bin', ASKED=str(asked)) | environment,
        )
        found = asked.read_text().splitlines() if asked.is_file() else []
        return done.returncode, found, done.stderr

    call.bins, call.asked, call.clean = bins, asked, clean
    return call


TRAIN = ['python', '-u', str(REPO / 'tools/train.py'), 'c.py', '--work-dir', 'w']


def test_slurm_train_is_openmmlabs(shell):
    status, asked, _ = shell('slurm_train.sh', 'gpu', 'job', 'c.py', 'w', '--resume')
    assert status == 0
    assert asked == [
        *('srun', '--partition=gpu', '--job-name=job', '--ntasks=8', '--gres=gpu:8'),
        *('--ntasks-per-node=8', '--cpus-per-task=5', '--kill-on-bad-exit=1'),
        *TRAIN,
        *('--launcher', 'slurm', '--resume'),
    ]


def test_slurm_train_takes_the_environment(shell):
    settings = dict(GPUS='2', GPUS_PER_NODE='0', CPUS_PER_TASK='3', SRUN_ARGS='--time=5 --mem=1G')
    _, asked, _ = shell('slurm_train.sh', 'cpu', 'job', 'c.py', 'w d', 'a="b c"', **settings)
    assert asked == [
        *('srun', '--partition=cpu', '--job-name=job', '--ntasks=2', '--cpus-per-task=3'),
        *('--kill-on-bad-exit=1', '--time=5', '--mem=1G'),
        *TRAIN[:-1],
        *('w d', '--launcher', 'slurm', 'a="b c"'),
    ]


@pytest.mark.parametrize('script', ['slurm_train.sh', 'slurm_test.sh', 'slurm_submit.sh'])
def test_gpus_may_be_asked_for_task_by_task(shell, script):
    settings = dict(GPUS='4', GPUS_PER_NODE='2', GPU_ARGS='--gpus-per-task=1 --gpu-bind=single:1')
    _, asked, _ = shell(script, 'gpu', 'job', 'c.py', 'w', **settings)
    assert asked[3:8] == [
        *('--ntasks=4', '--gpus-per-task=1', '--gpu-bind=single:1'),
        *('--ntasks-per-node=2', '--cpus-per-task=5'),
    ]
    assert not any(word.startswith('--gres') for word in asked)


@pytest.mark.parametrize(('given', 'found'), [({}, '1'), ({'OMP_NUM_THREADS': '3'}, '3')])
@pytest.mark.parametrize('script', ['slurm_train.sh', 'slurm_test.sh', 'slurm_submit.sh'])
def test_a_process_has_one_thread_for_tensors_on_the_cpu(shell, script, given, found):
    """mmengine would say so too late: OpenMP reads it when torch is imported."""
    (shell.bins / 'srun').write_text('#!/usr/bin/env bash\necho "$OMP_NUM_THREADS" >>"$ASKED"\n')
    inside = INSIDE if 'submit' in script else {}
    assert shell(script, 'gpu', 'job', 'c.py', 'w', **inside, **given)[1] == [found]


def test_slurm_test(shell):
    _, asked, _ = shell('slurm_test.sh', 'gpu', 'job', 'c.py', 'e.pth', '--out', 'o.json')
    command = [str(REPO / 'tools/test.py'), 'c.py', 'e.pth', '--launcher', 'slurm']
    assert asked[-7:] == [*command, '--out', 'o.json']


def test_slurm_submit_queues_itself(shell):
    settings = dict(GPUS='2', GPUS_PER_NODE='0', SBATCH_ARGS='--time=9', GRACE='60')
    _, asked, _ = shell('slurm_submit.sh', 'cpu', 'job', 'c.py', 'w', **settings)
    assert asked == [
        *('sbatch', '--partition=cpu', '--job-name=job', '--ntasks=2', '--cpus-per-task=5'),
        *('--requeue', '--open-mode=append', '--output=w/slurm-%j.out', '--signal=B:USR1@60'),
        *('--time=9', str(REPO / 'tools/slurm_submit.sh'), 'cpu', 'job', 'c.py', 'w'),
    ]


INSIDE = dict(MMSSL_TOOLS=str(REPO / 'tools'), SLURM_JOB_ID='7')


def test_inside_the_job_it_resumes_and_passes_the_status_on(shell):
    (shell.bins / 'srun').write_text(RECORD + 'exit 4\n')
    status, asked, _ = shell('slurm_submit.sh', 'cpu', 'job', 'c.py', 'w', 'x=1', **INSIDE)
    assert status == 4
    head = ['srun', '--cpus-per-task=5', '--kill-on-bad-exit=1']
    assert asked == [*head, *TRAIN, '--launcher', 'slurm', '--resume', 'x=1']


@pytest.mark.parametrize(('left', 'queued'), [(138, True), (0, False)])
def test_a_signalled_job_is_queued_again_unless_it_has_finished(shell, left, queued):
    wait = f'trap "echo got >>$ASKED; exit {left}" USR1\necho ready >>$ASKED\n'
    (shell.bins / 'srun').write_text(
        '#!/usr/bin/env bash\n' + wait + 'while true; do sleep .05; done\n'
    )
    job = subprocess.Popen(
        [str(REPO / 'tools/slurm_submit.sh'), 'cpu', 'job', 'c.py', 'w'],
        env=shell.clean | INSIDE | dict(PATH=f'{shell.bins}:/usr/bin:/bin', ASKED=str(shell.asked)),
    )
    while not shell.asked.is_file():
        time.sleep(0.05)
    job.send_signal(signal.SIGUSR1)
    assert job.wait(20) == 0
    asked = shell.asked.read_text().splitlines()
    assert asked == ['ready', 'got'] + ['scontrol', 'requeue', '7'] * queued


# torchrun -----------------------------------------------------------------------------------------
def nodes(shell, **environment):
    """Options that dist_train.sh gives torchrun for the machines."""
    status, asked, err = shell('dist_train.sh', 'c.py', '4', '--resume', **environment)
    assert status == 0, err
    end = asked.index('--nproc_per_node=4')
    assert asked[end + 1 :][1:] == ['c.py', '--launcher', 'pytorch', '--resume']
    start = next(i for i, word in enumerate(asked) if word.endswith('tools/torchrun.py'))
    return asked[start + 1 : end]


def test_one_machine(shell):
    assert nodes(shell) == [
        *('--nnodes=1', '--node_rank=0', '--master_addr=127.0.0.1', '--master_port=29500')
    ]


def test_machines_by_hand(shell):
    found = nodes(shell, NNODES='3', NODE_RANK='2', MASTER_ADDR='a', PORT='1234')
    assert found == ['--nnodes=3', '--node_rank=2', '--master_addr=a', '--master_port=1234']


def test_elastic_machines_meet(shell):
    found = nodes(shell, NNODES='1:2', MASTER_ADDR='a', PORT='1234')
    assert found == [
        *('--nnodes=1:2', '--rdzv_backend=c10d', '--rdzv_endpoint=a:1234', '--rdzv_id=mmssl'),
        '--max_restarts=100',
    ]


STEP = dict(
    SLURM_STEP_NODELIST='n[3-4]',
    SLURM_STEP_NUM_NODES='2',
    SLURM_STEP_NUM_TASKS='2',
    SLURM_NODEID='1',
    SLURM_JOB_ID='11',
    SLURM_STEP_ID='0',
)


def test_inside_an_allocation_slurm_tells(shell):
    (shell.bins / 'scontrol').write_text('#!/bin/sh\n[ "$3" = "n[3-4]" ] && printf "n3\\nn4\\n"\n')
    found = nodes(shell, **STEP)
    assert found == ['--nnodes=2', '--node_rank=1', '--master_addr=n3', '--master_port=20077']
    by_hand = nodes(shell, **STEP, NNODES='2', MASTER_ADDR='a')
    assert by_hand == ['--nnodes=2', '--node_rank=0', '--master_addr=a', '--master_port=29500']


@pytest.mark.parametrize('script', ['slurm_train.sh', 'slurm_test.sh', 'slurm_submit.sh'])
def test_missing_words_are_asked_for(shell, script):
    status, asked, err = shell(script, 'gpu', 'job', 'c.py')
    assert (status, asked) == (2, [])
    assert err.startswith('usage: ')
    assert 'PARTITION JOB CONFIG' in err
