"""Jobs on two processes: what they return, what fails, what has no time, on gloo."""

import json

import pytest
import torch
from torch import distributed as td

from mmssl.core import dist
from mmssl.gpu_check.parts import NO_TIME, Parts
from mmssl.gpu_check.processes import run_jobs


def _sum(number: int) -> dict[str, float]:
    total = dist.sum_over_ranks(torch.tensor(float(number + dist.rank())))
    return dict(total=float(total), world=td.get_world_size())


def _fail_on_the_second() -> dict[str, float]:
    if dist.rank() == 1:
        raise ValueError('no such kernel')
    dist.wait()
    return {}


@pytest.mark.slow
def test_a_job_that_fails_ends_alone_and_the_next_runs(tmp_path):
    parts = Parts(tmp_path / 'parts.json', 100.0, 'cpu', tmp_path)
    jobs = [('first', _sum, (1,)), ('bad', _fail_on_the_second, ()), ('last', _sum, (5,))]
    run_jobs(parts, jobs, 'gloo')
    first, bad, last = json.loads(parts.file.read_text())['parts']
    assert (first['name'], first['ok'], first['total'], first['world']) == ('first', True, 3.0, 2)
    assert (bad['name'], bad['ok'], bad['error']) == ('bad', False, 'ValueError: no such kernel')
    assert '_fail_on_the_second' in bad['trace']
    assert (last['name'], last['ok'], last['total']) == ('last', True, 11.0)


def test_jobs_without_time_are_noted(tmp_path):
    parts = Parts(tmp_path / 'parts.json', 0.0, 'cpu', tmp_path)
    run_jobs(parts, [('a', _sum, (1,)), ('b', _sum, (1,))], 'gloo')
    assert [(p['name'], p['ok'], p['note']) for p in parts.found] == [
        ('a', None, 'had not ended when time was over'),
        ('b', None, NO_TIME),
    ]
