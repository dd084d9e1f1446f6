"""Interrupt a run, and collect its whole state."""

import pytest
import torch

from .tiny import Watch, weights


class Stop(Exception):
    """The power cut."""


def interrupt(runner, iteration, name='cut.pth'):
    """Train until ``iteration`` is done, save and stop."""

    def look(runner, _):
        if runner.iter + 1 == iteration:
            runner.save_checkpoint(runner.work_dir, name)
            raise Stop

    seen = []
    runner.register_hook(Watch(lambda _, outputs: seen.append(outputs['loss'].item())))
    runner.register_hook(Watch(look))
    with pytest.raises(Stop):
        runner.train()
    return seen


def everything(runner):
    """All that a run leaves: weights, buffers, optimizer state."""
    found = weights(runner)
    for i, entries in runner.optim_wrapper.optimizer.state_dict()['state'].items():
        found |= {f'optimizer.{i}.{k}': torch.as_tensor(v) for k, v in entries.items()}
    return found
