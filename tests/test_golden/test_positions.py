"""Positions of the vision transformer as the official codes make and resize them."""

import torch
from safetensors.torch import load_file
from torch.nn.functional import interpolate
from torch.testing import assert_close

from mmssl.checkpoint import read
from mmssl.models.backbones.vit import resize_positions, sincos_positions


def test_positions_are_the_recorded_ones(golden):
    case = golden('mocov3_posembed_a')
    assert len(case.case['grids']) == 6
    for name, grid in case.case['grids'].items():
        size = (grid['grid_w'], grid['grid_h'], grid['embed_dim'])
        single, double = (sincos_positions(*size, t) for t in (torch.float32, torch.float64))
        assert torch.equal(single, case.expect[name]), name
        assert_close(double, case.expect[f'{name}.float64'], rtol=0, atol=1e-12, msg=name)


def test_resized_positions_are_the_recorded_ones(golden):
    folder = golden('sere_vit_a').folder
    expect = load_file(folder / 'expect_eval.safetensors')
    table = read(folder / 'official.pth')['teacher']['module.backbone.pos_embed'].double()
    for name, side in (('local', 3), ('large', 8)):
        ours = resize_positions(table, side, side)
        assert_close(ours, expect[f'teacher.pos_embed_interp_{name}'], rtol=1e-12, atol=1e-12)
    assert resize_positions(table, 6, 6) is table
    assert resize_positions(table, 4, 7).shape == (1, 29, 30)


def test_without_offset_positions_are_resized_by_the_plain_ratio():
    """EsViT's rule, which is torch's own for a size."""
    table = torch.randn(1, 1 + 6 * 6, 5, dtype=torch.float64)
    grid = table[:, 1:].unflatten(1, (6, 6)).permute(0, 3, 1, 2)
    for side in (3, 4, 9):
        expected = interpolate(grid, scale_factor=(side / 6, side / 6), mode='bicubic')
        ours = resize_positions(table, side, side, offset=0.0)
        assert torch.equal(ours[:, :1], table[:, :1])
        assert_close(ours[:, 1:], expected.flatten(2).transpose(1, 2), rtol=0, atol=1e-12)
