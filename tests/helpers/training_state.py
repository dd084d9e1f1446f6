"""Interrupt a run, and collect its whole state."""

import random
from typing import Any

import numpy as np
import pytest
import torch

from mmssl.checkpoint.file_format import FORMAT
from mmssl.core.host_values import as_number
from mmssl.engine import Runner

from .tiny import Watch, weights


class Stop(Exception):
    """The power cut."""


def interrupt(runner: Runner, iteration: int, name: str = 'cut.pth') -> list[float]:
    """Train until ``iteration`` is done, save and stop."""

    def look(runner: Runner, _: Any) -> None:
        if runner.iter + 1 == iteration:
            runner.save_checkpoint(runner.work_dir, name)
            raise Stop

    seen: list[float] = []
    runner.register_hook(Watch(lambda _, outputs: seen.append(as_number(outputs['loss']))))
    runner.register_hook(Watch(look))
    with pytest.raises(Stop):
        runner.train()
    return seen


def everything(runner: Runner) -> dict[str, torch.Tensor]:
    """All that a run leaves: weights, buffers, optimizer state."""
    found = weights(runner)
    for i, entries in runner.optim_wrapper.optimizer.state_dict()['state'].items():
        found |= {f'optimizer.{i}.{k}': torch.as_tensor(v) for k, v in entries.items()}
    return found


def smallest_file(started: float = 1.0, iteration: int = 1) -> dict[str, Any]:
    """The content of a training file of one process whose network has no tensors."""
    state: Any = np.random.RandomState(0).get_state()
    keys = state[1].astype(np.int64)
    return dict(
        format=FORMAT,
        meta=dict(run=dict(id=f'run {started}', started=started), settings={}),
        state_dict={},
        optimizer=dict(optimizer=dict(state={}, param_groups=[]), scaler={}),
        progress=dict(iter=iteration, per_epoch=1, batch=1, batch_size=1, processes=1, best=None),
        schedulers=[],
        random=dict(
            torch=torch.get_rng_state()[None],
            numpy=torch.from_numpy(keys)[None],
            numpy_rest=[0, 0, 0.0],
            python=torch.tensor(random.getstate()[1])[None],
        ),
    )
