"""Models keep their losses as they are logged: means of tensors, sums of lists, and the total."""

import torch

from ..helpers.methods import build


def test_what_is_kept_is_what_is_logged():
    model = build('mocov3')
    weight = torch.tensor(2.0, requires_grad=True)
    rows = weight * torch.tensor([1.0, 2.0])
    losses = dict(loss_rows=rows, loss_list=[rows, rows], accuracy=torch.tensor(0.5))
    loss, logged = model.parse_losses(losses)
    assert model.logged_losses == dict(loss=9.0, loss_rows=3.0, loss_list=6.0, accuracy=0.5)
    assert list(model.logged_losses) == list(logged) and loss.requires_grad
    assert not any(value.requires_grad for value in model.logged_losses.values())
