"""Crops of several sizes in one pass: the numbers of a pass for each size."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from mmssl.models.branch import Branch
from mmssl.planning.device_counts import DeviceCounts

VIT = dict(type='VisionTransformer', arch=(12, 3, 3), img_size=16, patch_size=4, mlp_ratio=2)
KINDS: dict[str, dict[str, Any]] = {
    'DINO': {},
    'DINOv2': dict(registers=2, layer_scale=0.1, mlp='swiglu'),
    'DINOv3': dict(positions='rotary', registers=1, key_bias=False),
    'MoCo v3': dict(positions='sincos', stem='conv', patch_size=4),
    'iBOT': dict(mask_token=True),
    'recomputed': dict(with_cp=True, drop_path_rate=0.4, registers=1),
    'random depth': dict(drop_path_rate=0.4, mask_token=True),
}
TIGHT = dict(rtol=1e-12, atol=1e-12)
SIZES = (16, 16, 8, 8, 8)


def passed(branch: Branch, views: list[Tensor], mask: Tensor | None) -> Any:
    """Features of all views, gradients of all weights, and launches."""
    torch.manual_seed(1)  # of random depth
    with DeviceCounts() as counts:
        features = branch.encode(views, mask)
        numbers = [x for f in features for x in (f.pooled, f.tokens, f.raw)]
        sum((x * x.detach().sin()).sum() for x in numbers).backward()
    grads = {n: p.grad for n, p in branch.named_parameters()}
    branch.zero_grad()
    return [x.detach() for x in numbers], [f.grid for f in features], grads, counts.launches


@pytest.mark.parametrize('kind', KINDS)
def test_one_pass_is_a_pass_for_each_size(kind: str) -> None:
    torch.manual_seed(0)
    settings = KINDS[kind]
    neck = dict(type='MLP', dims=(12, 12))
    branch = Branch({**VIT, **settings}, neck).double().train()
    branch.backbone.net.pos_embed is not None and branch.backbone.net.pos_embed.data.normal_()
    views = [torch.randn(3, 3, size, size, dtype=torch.float64) for size in SIZES]
    mask = torch.rand(6, 4, 4) < 0.4 if settings.get('mask_token') else None
    assert branch.backbone.pack_crops
    together = passed(branch, views, mask)
    branch.backbone.pack_crops = False
    apart = passed(branch, views, mask)
    assert together[1] == apart[1] == [(size // 4, size // 4) for size in SIZES]
    for ours, expected in zip(together[0], apart[0], strict=True):
        assert_close(ours, expected, **TIGHT)
    for name, expected in apart[2].items():
        if expected is None or name.startswith('neck'):
            assert together[2][name] is None, name
        else:
            assert_close(together[2][name], expected, **TIGHT)
    assert sum(together[3].values()) < sum(apart[3].values())


def test_masked_views_are_a_group_of_their_own() -> None:
    """Also where all views have one size."""
    torch.manual_seed(0)
    branch = Branch({**VIT, 'mask_token': True}, dict(type='MLP', dims=(12, 12))).double()
    torch.nn.init.normal_(branch.backbone.mask_token)
    views = [torch.randn(2, 3, 16, 16, dtype=torch.float64) for _ in range(3)]
    mask = torch.rand(4, 4, 4) < 0.5
    found = branch.encode(views, mask)
    expected = branch.backbone.encode(torch.cat(views[:2]), mask).split(2)
    expected += branch.backbone.encode(views[2]).split(2)
    for ours, theirs in zip(found, expected, strict=True):
        assert_close(ours.tokens, theirs.tokens, **TIGHT)
