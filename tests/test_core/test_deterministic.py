"""What deterministic products on a GPU need is set before CUDA starts, or refused."""

import os

import pytest
import torch

from mmssl.core.deterministic import VARIABLE, set_blas_workspaces

from ..helpers.refusals import refuses


@pytest.fixture
def unset(monkeypatch):
    """Return a setter of the variable, which is not set, in a process without CUDA."""
    monkeypatch.setenv(VARIABLE, '')  # so that what is written is undone
    monkeypatch.delenv(VARIABLE)
    monkeypatch.setattr(torch.cuda, 'is_initialized', lambda: False)
    return lambda value: monkeypatch.setenv(VARIABLE, value)


def test_it_is_set_where_nobody_has(unset):
    set_blas_workspaces()
    assert os.environ[VARIABLE] == ':4096:8'


@pytest.mark.parametrize('started', [False, True])
def test_a_choice_of_the_users_stays(unset, monkeypatch, started):
    unset(':16:8')
    monkeypatch.setattr(torch.cuda, 'is_initialized', lambda: started)
    set_blas_workspaces()
    assert os.environ[VARIABLE] == ':16:8'


def test_workspaces_that_torch_would_refuse_later(unset):
    unset(':4096:2')
    with refuses(VARIABLE, ':4096:2'):
        set_blas_workspaces()


def test_too_late_once_cuda_has_started(unset, monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_initialized', lambda: True)
    with refuses(VARIABLE) as caught:
        set_blas_workspaces()
    assert f'{VARIABLE}=:4096:8' in str(caught.value)
    assert VARIABLE not in os.environ
