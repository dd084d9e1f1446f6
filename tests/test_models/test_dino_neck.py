"""The head of DINO, EsViT and iBOT against its formula."""

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from mmssl.models.necks import DINONeck


def by_hand(neck, rows):
    """Scores of rows (R, C): linear, norm over all rows, GELU, ..., unit length, prototypes."""
    x = rows
    for layer in neck.mlp:
        if isinstance(layer, torch.nn.Linear):
            x = x @ layer.weight.T + layer.bias
        elif isinstance(layer, torch.nn.BatchNorm1d):
            x = (x - x.mean(0)) / (x.var(0, unbiased=False) + layer.eps).sqrt()
        else:
            x = F.gelu(x)
    x = x / x.norm(dim=1, keepdim=True)
    last = neck.last_layer2 or neck.last_layer
    weight = last.weight_g * last.weight_v / last.weight_v.norm(dim=1, keepdim=True)
    return x @ weight.T


@pytest.mark.parametrize('hidden_norm', [False, True])
@pytest.mark.parametrize('patches', [None, 7])
def test_patch_tokens_are_rows(hidden_norm, patches):
    """Also for batch norm: images and tokens are one axis."""
    neck = DINONeck((6, 8, 5), 7, hidden_norm=hidden_norm, patch_prototypes=patches).double()
    tokens = torch.randn(3, 4, 6, dtype=torch.float64)
    expected = by_hand(neck, tokens.flatten(0, 1)).view(3, 4, 7)
    assert_close(neck(tokens, patches=True), expected, rtol=1e-12, atol=1e-12)


def test_factors_stand_for_the_scores():
    """The same features, weights and shapes; nothing else is left to the objective."""
    neck = DINONeck((6, 8, 5), 7, patch_prototypes=9).double()
    lazy = DINONeck((6, 8, 5), 7, patch_prototypes=9, chunk_size=4).double()
    lazy.load_state_dict(neck.state_dict())
    tokens = torch.randn(3, 4, 6, dtype=torch.float64)
    for expected, found in (
        (neck(tokens, patches=True), lazy(tokens, patches=True)),
        (neck(tokens[:, 0]), lazy(tokens[:, 0])),
    ):
        assert found.chunk_size == 4
        assert_close(F.linear(found.features, found.weight), expected, rtol=1e-12, atol=1e-14)
