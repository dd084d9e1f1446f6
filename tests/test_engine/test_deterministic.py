"""A run with ``randomness.deterministic``: what it sets, and what it says where it cannot be."""

import os

import pytest
import torch
from mmengine.runner import utils

from mmssl.core.deterministic import VARIABLE
from mmssl.registry import MODELS

from ..helpers.refusals import refuses
from ..helpers.tiny import Chase, losses, make_runner, weights

RUN = dict(
    train_cfg__max_epochs=1,
    randomness__deterministic=True,
    val_cfg=None,
    val_dataloader=None,
    val_evaluator=None,
)


@pytest.fixture(autouse=True)
def _restored(monkeypatch):
    """Undo what such a run sets for the whole process."""
    monkeypatch.setenv(VARIABLE, '')
    monkeypatch.delenv(VARIABLE)
    cudnn = torch.backends.cudnn
    monkeypatch.setattr(cudnn, 'benchmark', False)
    monkeypatch.setattr(cudnn, 'deterministic', False)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize('backbone', ['vit', 'resnet'])
def test_all_that_makes_a_run_repeat_is_set(tiny_config, tmp_path, monkeypatch, backbone):
    said = []  # mmengine warns where the config's cudnn_benchmark has to be turned off
    monkeypatch.setattr(utils, 'print_log', lambda text, **_: said.append(text))
    runner = make_runner(tiny_config(backbone), tmp_path / 'a', **RUN)
    assert torch.are_deterministic_algorithms_enabled()
    assert not torch.is_deterministic_algorithms_warn_only_enabled()
    assert torch.backends.cudnn.deterministic
    assert not torch.backends.cudnn.benchmark
    assert os.environ[VARIABLE] == ':4096:8'
    assert said == []
    first = losses(runner)
    other = make_runner(tiny_config(backbone), tmp_path / 'b', **RUN)
    assert losses(other) == first
    again = weights(other)
    assert all(torch.equal(value, again[name]) for name, value in weights(runner).items())


def test_without_it_the_configs_settings_hold(tiny_config, tmp_path):
    make_runner(tiny_config(), tmp_path, **RUN | dict(randomness__deterministic=False))
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.backends.cudnn.benchmark
    assert VARIABLE not in os.environ


def test_a_variable_that_does_not_fit_ends_the_run_before_it_begins(
    tiny_config, tmp_path, monkeypatch
):
    monkeypatch.setenv(VARIABLE, ':8:8')
    with refuses(VARIABLE, ':8:8'):
        make_runner(tiny_config(), tmp_path, **RUN)


@MODELS.register_module()
class Unpool(Chase):
    """Toy method with an operator that has no deterministic kernel, on a CPU either."""

    def loss(self, views, info):
        """Mean of an unpooled view."""
        pooled, places = torch.nn.functional.max_pool2d(views[0], 2, return_indices=True)
        unpooled = torch.nn.functional.max_unpool2d(pooled, places, 2)
        return {'loss': super().loss(views, info)['loss'] + unpooled.mean()}


def test_an_operator_without_a_deterministic_kernel_is_named(tiny_config, tmp_path):
    runner = make_runner(tiny_config(), tmp_path, **RUN, model__type='Unpool', model__head=None)
    with refuses('randomness.deterministic', True) as caught:
        runner.train()
    assert 'max_unpooling2d_forward_out' in str(caught.value)
