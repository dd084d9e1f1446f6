"""Which GPU a process uses, and one line for machines whose GPUs cannot serve."""

import os

import pytest
import torch

from mmssl.core import device
from mmssl.core.launch import read_environment
from mmssl.engine.optim.wrapper import OptimWrapper

from ..helpers.refusals import refuses

TORCHRUN = dict(RANK='11', WORLD_SIZE='16', LOCAL_RANK='3', MASTER_ADDR='a', MASTER_PORT='1')
SLURM = dict(SLURM_PROCID='11', SLURM_NTASKS='16', SLURM_LOCALID='3', MASTER_ADDR='a')
MPI = dict(
    OMPI_COMM_WORLD_RANK='11',
    OMPI_COMM_WORLD_SIZE='16',
    OMPI_COMM_WORLD_LOCAL_RANK='3',
    MASTER_ADDR='a',
)
# how it was started, launcher, its variables, GPUs that the process sees, the one it uses
STARTS = [
    ('torchrun', 'pytorch', TORCHRUN, 8, 3),
    ('torchrun on four of eight by CUDA_VISIBLE_DEVICES', 'pytorch', TORCHRUN, 4, 3),
    ('srun --gres=gpu:8', 'slurm', SLURM, 8, 3),
    ('srun --gpus-per-task=1', 'slurm', SLURM, 1, 0),
    ('srun --gpu-bind=single:1', 'slurm', SLURM, 1, 0),
    ('srun --gpus-per-task=2', 'slurm', SLURM, 2, 1),
    ('CUDA_VISIBLE_DEVICES of one, set by a wrapper of srun', 'slurm', SLURM, 1, 0),
    ('mpirun', 'mpi', MPI, 8, 3),
    ('mpirun with one GPU bound', 'mpi', MPI, 1, 0),
    ('no GPU', 'slurm', SLURM, 0, None),
]


@pytest.fixture
def chosen(monkeypatch):
    """Return the devices that were made current, and a way to say how many there are."""
    names = ('RANK', 'WORLD_SIZE', 'LOCAL_RANK', 'MASTER_ADDR', 'MASTER_PORT')
    for name in (*names, *SLURM, *MPI, 'SLURM_JOBID', 'SLURM_STEP_ID', 'CUDA_VISIBLE_DEVICES'):
        monkeypatch.setenv(name, '')
        monkeypatch.delenv(name)
    found = []
    monkeypatch.setattr(torch.cuda, 'set_device', found.append)
    return found


@pytest.mark.parametrize(
    ('launcher', 'variables', 'visible', 'used'),
    [case[1:] for case in STARTS],
    ids=[case[0] for case in STARTS],
)
def test_a_local_rank_becomes_a_device(chosen, monkeypatch, launcher, variables, visible, used):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: visible)
    read_environment(launcher)
    device.set_local_device(int(os.environ['LOCAL_RANK']))
    assert chosen == ([] if used is None else [used])


def broken(monkeypatch, message):
    """Pretend a torch for CUDA on a machine where CUDA says ``message``."""

    def init():
        raise RuntimeError(message)

    monkeypatch.setattr(torch.version, 'cuda', '13.0')
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    monkeypatch.setattr(torch.cuda, 'init', init)


OLD = (
    'The NVIDIA driver on your system is too old (found version 11040). Please update your GPU '
    'driver by downloading and installing a new version from the URL: http://www.nvidia.com'
)
NONE = 'Found no NVIDIA driver on your system. Please check that you have an NVIDIA GPU'


def test_a_driver_that_is_too_old_ends_the_run(chosen, monkeypatch):
    broken(monkeypatch, OLD)
    reason = 'The NVIDIA driver on your system is too old (found version 11040)'
    with refuses('driver', reason):
        device.check_driver()
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '')  # the CPU was asked for
    device.check_driver()


def test_a_machine_without_a_driver_trains_on_its_cpu_and_says_why(chosen, monkeypatch):
    broken(monkeypatch, NONE)
    device.check_driver()
    assert device.missing_gpu() == 'Found no NVIDIA driver on your system'
    monkeypatch.setattr(torch.version, 'cuda', None)  # a torch for the CPU misses nothing
    assert device.missing_gpu() == ''


def test_a_gpu_without_bfloat16_is_named(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(torch.cuda, 'is_bf16_supported', lambda including_emulation=True: False)
    monkeypatch.setattr(torch.cuda, 'get_device_name', lambda: 'Tesla V100')
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1)
    with refuses('optim_wrapper.amp', 'bfloat16') as caught:
        OptimWrapper(optimizer, amp='bfloat16')
    assert 'Tesla V100' in str(caught.value)
