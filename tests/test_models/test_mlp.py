"""Layout of projectors and predictors: it is the layout of the files."""

from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from mmssl.models.necks import MLP

# what the official MoCo v3 files hold, without their prefixes
LAYOUTS = {
    'projector of a ViT': (
        dict(dims=(6, 8, 8, 4), last_norm=True),
        ['Linear', 'BatchNorm1d', 'ReLU', 'Linear', 'BatchNorm1d', 'ReLU', 'Linear', 'BatchNorm1d'],
    ),
    'projector of a ResNet': (
        dict(dims=(6, 8, 4), last_norm=True),
        ['Linear', 'BatchNorm1d', 'ReLU', 'Linear', 'BatchNorm1d'],
    ),
    'predictor of a ResNet': (
        dict(dims=(4, 8, 4)),
        ['Linear', 'BatchNorm1d', 'ReLU', 'Linear'],
    ),
    'MoCo v2': (dict(dims=(6, 6, 4), bias=True, hidden_norm=False), ['Linear', 'ReLU', 'Linear']),
}


@pytest.mark.parametrize('name', LAYOUTS)
def test_layers(name):
    settings, kinds = LAYOUTS[name]
    mlp = MLP(**settings)
    assert [type(layer).__name__ for layer in mlp] == kinds
    dims = settings['dims']
    linears = [layer for layer in mlp if isinstance(layer, nn.Linear)]
    assert [(m.in_features, m.out_features) for m in linears] == list(pairwise(dims))
    assert all((m.bias is not None) == settings.get('bias', False) for m in linears)
    norms = [layer for layer in mlp if isinstance(layer, nn.BatchNorm1d)]
    last = settings.get('last_norm', False)
    assert [n.affine for n in norms] == [True] * (len(norms) - last) + [False] * last


def test_names_are_those_of_the_official_file(golden):
    case = golden('mocov3_vit_a')
    state = torch.load(case.folder / 'official.pth', weights_only=False)['state_dict']
    for prefix, mlp in (
        ('module.base_encoder.head.', MLP((32, 48, 48, 16), last_norm=True)),
        ('module.predictor.', MLP((16, 48, 16), last_norm=True)),
    ):
        theirs = {k[len(prefix) :]: v.shape for k, v in state.items() if k.startswith(prefix)}
        assert {k: v.shape for k, v in mlp.state_dict().items()} == theirs


def test_output_is_the_layers_written_out():
    mlp = MLP((3, 5, 2), last_norm=True).double().eval()
    for module in mlp:
        if isinstance(module, nn.BatchNorm1d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    x = torch.randn(4, 3, dtype=torch.float64)
    first, norm, _, second, last = mlp
    hidden = (x @ first.weight.T - norm.running_mean) / (norm.running_var + 1e-5).sqrt()
    y = hidden.clamp_min(0) @ second.weight.T
    expected = (y - last.running_mean) / (last.running_var + 1e-5).sqrt()
    assert_close(mlp(x), expected, rtol=1e-12, atol=1e-12)
