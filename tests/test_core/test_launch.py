"""Environment variables of the launchers, and the errors when they are missing."""

import os
import socket
from concurrent.futures import ThreadPoolExecutor

import pytest
from torch import distributed as td

from mmssl.core import UserError, dist, launch
from mmssl.core.launch import agree, read_environment, tells

from ..helpers.command import free_port
from ..helpers.refusals import check_refusal, refuses

VARIABLES = {
    'pytorch': ('RANK', 'WORLD_SIZE', 'LOCAL_RANK'),
    'slurm': ('SLURM_PROCID', 'SLURM_NTASKS', 'SLURM_LOCALID'),
    'mpi': ('OMPI_COMM_WORLD_RANK', 'OMPI_COMM_WORLD_SIZE', 'OMPI_COMM_WORLD_LOCAL_RANK'),
}
STARTED_BY = {'pytorch': 'dist_train.sh', 'slurm': 'srun', 'mpi': 'mpirun'}


@pytest.fixture
def environment(monkeypatch):
    """Return a setter, in an environment that no launcher has touched."""
    names = {n for group in VARIABLES.values() for n in group}
    more = ('MASTER_ADDR', 'MASTER_PORT', 'SLURM_NODELIST', 'SLURM_JOBID', 'SLURM_STEP_ID')
    for name in (*names, *more):
        # set, then delete: monkeypatch then also undoes what read_environment writes
        monkeypatch.setenv(name, '')
        monkeypatch.delenv(name)
    return monkeypatch.setenv


@pytest.mark.parametrize('launcher', VARIABLES)
def test_every_launcher_is_translated(environment, launcher):
    environment('MASTER_ADDR', 'host7')
    for name, value in zip(VARIABLES[launcher], '352', strict=True):
        environment(name, value)
    read_environment(launcher)
    names = ('RANK', 'WORLD_SIZE', 'LOCAL_RANK', 'MASTER_ADDR', 'MASTER_PORT')
    port = '20000' if launcher == 'slurm' else '29500'
    assert [os.environ[n] for n in names] == ['3', '5', '2', 'host7', port]


@pytest.mark.parametrize('launcher', VARIABLES)
def test_a_missing_variable_is_named_with_advice(environment, launcher):
    environment(VARIABLES[launcher][0], '0')
    environment(VARIABLES[launcher][2], '0')
    with refuses(VARIABLES[launcher][1]) as caught:
        read_environment(launcher)
    message = str(caught.value)
    assert f'--launcher {launcher}' in message
    assert STARTED_BY[launcher] in message
    assert '--launcher none' in message
    assert 'WORLD_SIZE' not in os.environ


def test_unknown_launcher():
    with refuses('launcher', 'ray'):
        read_environment('ray')


def test_the_first_slurm_node_is_the_master(environment, tmp_path):
    for name in VARIABLES['slurm']:
        environment(name, '0')
    with refuses('SLURM_NODELIST'):
        read_environment('slurm')
    script = tmp_path / 'scontrol'
    script.write_text('#!/bin/sh\n[ "$3" = "n[3-4]" ] && printf "n3\\nn4\\n"\n')
    script.chmod(0o755)
    environment('PATH', f'{tmp_path}:{os.environ["PATH"]}')
    environment('SLURM_NODELIST', 'n[3-4]')
    read_environment('slurm')
    assert os.environ['MASTER_ADDR'] == 'n3'
    os.environ.pop('MASTER_ADDR')
    environment('SLURM_NODELIST', 'x')
    with refuses('MASTER_ADDR'):
        read_environment('slurm')


def test_jobs_on_one_slurm_node_have_ports_of_their_own(environment):
    for name in VARIABLES['slurm']:
        environment(name, '0')
    environment('MASTER_ADDR', 'host7')
    ports = set()
    for job in ('41', '42'):
        for step in ('0', '1'):
            environment('SLURM_JOBID', job)
            environment('SLURM_STEP_ID', step)
            os.environ.pop('MASTER_PORT', None)
            read_environment('slurm')
            ports.add(int(os.environ['MASTER_PORT']))
    assert len(ports) == 4
    assert all(1024 < port < 65536 for port in ports)
    environment('MASTER_PORT', '5')
    read_environment('slurm')
    assert os.environ['MASTER_PORT'] == '5'


@pytest.mark.parametrize(
    ('name', 'value'),
    [
        ('RANK', '2'),
        ('RANK', 'one'),
        ('RANK', ''),
        ('WORLD_SIZE', '-2'),
        ('MASTER_PORT', '9' * 5000),
    ],
)
def test_numbers_that_are_none(environment, name, value):
    good = dict(RANK='0', WORLD_SIZE='2', LOCAL_RANK='0', MASTER_PORT='29500')
    for each, number in (good | {name: value}).items():
        environment(each, number)
    with refuses(name, value):
        launch.init_distributed('pytorch')


def test_a_first_rank_that_never_comes(environment):
    environment('MASTER_ADDR', '127.0.0.1')
    port = free_port()
    environment('MASTER_PORT', port)
    with refuses('MASTER_PORT', port) as caught:
        launch._store(1, 2, 1)
    assert 'rank 0 of 2' in str(caught.value)


def test_a_port_in_use(environment):
    environment('MASTER_ADDR', '127.0.0.1')
    with socket.create_server(('', 0)) as taken:
        port = str(taken.getsockname()[1])
        environment('MASTER_PORT', port)
        with refuses('MASTER_PORT', port) as caught:
            launch._store(0, 2, 1)
    assert 'cannot be opened' in str(caught.value)


# what ranks tell each other before a backend starts -----------------------------------------------
def meet(reports, ranks=None, world=None, seconds=30):
    """Let each rank report in a thread of its own; return what each ended with."""
    store = td.HashStore()
    ranks = ranks or range(len(reports))

    def join(rank):
        try:
            agree(store, rank, world or len(reports), 'GPUs', lambda: reports[rank], seconds)
        except (UserError, SystemExit) as error:
            return error
        return None

    with ThreadPoolExecutor(len(ranks)) as pool:
        return list(pool.map(join, ranks))


def test_a_rank_that_is_missing_is_named_by_the_first(monkeypatch):
    monkeypatch.setattr(launch, 'WAIT', 0.5)
    first, other = meet(gpus('', ''), world=3, seconds=0.2)
    check_refusal(first, 'rank', 2)
    assert other.code == 2


def test_a_rank_that_is_there_twice():
    first, *others = meet(gpus('', ''), ranks=[0, 1, 1], world=3)
    assert first.key == 'RANK' and 'rank 1 is there twice' in str(first)
    errors = [error for error in others if isinstance(error, UserError)]
    check_refusal(errors[0], 'RANK', '1')
    assert [error.code for error in others if error not in errors] == [2]


def gpus(*names):
    return [dict(gpu=name) for name in names]


@pytest.mark.parametrize('reports', [gpus('a 0', 'a 1', 'b 0'), gpus('', '')])
def test_a_gpu_for_each_or_none_for_all(reports):
    assert meet(reports) == [None] * len(reports)


@pytest.mark.parametrize(
    ('reports', 'key', 'value', 'fact'),
    [
        (gpus('a 0', 'a 1', 'a 0', 'a 1'), 'processes', 4, 'ranks 0 and 2'),
        (gpus('a 0', ''), 'rank', 1, 'rank 0 does'),
        (gpus('', 'a 0'), 'rank', 0, 'rank 1 does'),
        ([dict(world='2'), dict(world='3')], 'WORLD_SIZE', '3', 'rank 1 was started'),
        ([*gpus('a 0'), dict(problem='driver: too old')], 'rank', 1, 'driver: too old'),
    ],
)
def test_what_is_wrong_on_any_rank_is_one_line_on_the_first(reports, key, value, fact):
    first, *others = meet(reports)
    check_refusal(first, key, value)
    assert fact in str(first)
    assert [other.code for other in others] == [2] * len(others)


def test_nccl_that_cannot_start_is_a_report(monkeypatch):
    def fail(_):
        raise RuntimeError('NCCL error in: ProcessGroupNCCL.cpp:94,\nunhandled system error')

    monkeypatch.setattr(td, 'all_reduce', fail)
    report = launch._try_nccl()
    assert 'unhandled system error' in report['problem']
    first, other = meet([report, {}])
    check_refusal(first, 'rank', 0)
    assert 'env_cfg.dist_cfg.backend=gloo' in str(first)
    assert other.code == 2


def _tell(messages):
    return tells(messages[dist.rank()])


def test_an_error_of_all_ranks_is_printed_once(two_ranks, monkeypatch):
    assert two_ranks(_tell, ['same', 'same']) == [True, False]
    assert two_ranks(_tell, ['one', 'another']) == [True, True]
