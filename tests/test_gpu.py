"""On a CUDA device: every method, kNN and a short run give what they give on the CPU."""

import pytest
import torch
from torch.testing import assert_close

from mmssl.checkpoint import read
from mmssl.evaluation.knn import knn

from .helpers.methods import MODELS_BY_NAME, agree, batch, build, gradients
from .helpers.tiny import losses, make_runner

pytestmark = pytest.mark.gpu
DEVICE = 'cuda'


@pytest.mark.parametrize('name', MODELS_BY_NAME)
def test_loss_and_gradients_of_a_method(name):
    """In float64, where rounding hides nothing."""
    found = []
    for device in ('cpu', DEVICE):
        model, (views, info) = build(name).to(device), batch(name, 4)
        torch.manual_seed(2)
        loss = model.loss([v.to(device) for v in views], {k: v.to(device) for k, v in info.items()})
        loss['loss'].backward()
        values = {k: v.detach() for k, v in (gradients(model) | {'loss': loss['loss']}).items()}
        found.append({k: v.cpu() for k, v in values.items()})
    agree(found[1], found[0], 1e-9)


def test_votes_of_neighbours():
    bank, queries = torch.randn(60, 8).double(), torch.randn(20, 8).double()
    labels = torch.randint(0, 5, (60,))
    expected = knn(bank, labels, queries, 7, 0.07, 5)
    found = knn(bank.to(DEVICE), labels.to(DEVICE), queries.to(DEVICE), 7, 0.07, 5)
    assert_close(found.cpu(), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize('amp', [None, 'bfloat16', 'float16'])
def test_a_run_trains_and_leaves_a_file_for_any_device(tiny_config, tmp_path, amp):
    runner = make_runner(tiny_config(), tmp_path, optim_wrapper__amp=amp)
    seen = losses(runner)
    assert next(runner.model.parameters()).device.type == DEVICE
    assert len(seen) == 12 and all(0 < loss < 100 for loss in seen)
    state = read(tmp_path / 'epoch_3.pth')['state_dict']
    assert {value.device.type for value in state.values()} == {'cpu'}
