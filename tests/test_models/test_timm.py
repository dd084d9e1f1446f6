"""Networks of timm against timm's own forward functions."""

import pytest
import timm
import torch
from torch.testing import assert_close

from mmssl.core.schedule import Progress
from mmssl.models.backbones import TimmBackbone
from mmssl.models.classifier import Classifier
from mmssl.registry import MODELS

SMALL = {
    'convnext_tiny': dict(dims=(8, 12, 16, 24), depths=(1, 1, 2, 1)),
    'deit3_small_patch16_224': dict(
        embed_dim=24, depth=4, num_heads=3, dynamic_img_size=True, init_values=0.5
    ),  # timm starts its residual branches at 1e-6: all images alike, nothing to compare
    'regnety_002': {},
    'efficientnet_b0': {},
    'swin_tiny_patch4_window7_224': dict(embed_dim=12, depths=(1, 1, 1, 1), strict_img_size=False),
    'deit_small_distilled_patch16_224': dict(
        embed_dim=24, depth=3, num_heads=3, dynamic_img_size=True
    ),
}
SIZES = [(64, 64), (96, 128)]


def build(name, **settings):
    return TimmBackbone(name, args=SMALL[name], **settings).double().eval()


def close(ours, theirs):
    assert_close(ours, theirs, rtol=0, atol=1e-12)


@pytest.fixture(params=SMALL)
def net(request):
    return build(request.param)


@pytest.fixture(params=SIZES, ids=str)
def x(request):
    return torch.randn(2, 3, *request.param, dtype=torch.float64)


def tokens_of(net, features, grid):
    """Spatial tokens of ``forward_features`` as (B, N, C)."""
    if features.dim() == 3:
        return features[:, features.shape[1] - grid[0] * grid[1] :]
    last = getattr(net.net, 'output_fmt', 'NCHW') == 'NHWC'
    return features.flatten(1, 2) if last else features.flatten(2).transpose(1, 2)


def test_features_are_timms(net, x):
    with torch.no_grad():
        features, theirs = net.encode(x), net.net.forward_features(x)
        close(features.pooled, net.net(x))
        close(features.tokens, tokens_of(net, theirs, features.grid))
        raw = net.net.forward_intermediates(x, indices=1, intermediates_only=True)[0]
        close(features.raw, raw.flatten(2).transpose(1, 2))
    assert features.pooled.shape == (2, net.num_features)


def test_maps_are_timms(net, x):
    count = len(net.net.feature_info)
    net.out_indices = (0, count - 2, count - 1)
    with torch.no_grad():
        theirs = net.net.forward_intermediates(x, indices=[0, count - 2, count - 1])[1]
        maps = net(x)
    for ours, expected in zip(maps, theirs, strict=True):
        close(ours, expected)
    h, w = x.shape[2:]
    assert [m.shape[1:] for m in maps] == [
        (c, h // s, w // s) for c, s in zip(net.out_channels, net.out_strides, strict=True)
    ]


def test_descriptors_end_with_what_timm_pools(net, x):
    with torch.no_grad():
        two, one = net.last_blocks_features(x, 2), net.net(x)
        close(two[:, -one.shape[1] :], one)
        if net.widths == (24,):  # blocks of a ViT: the class token, normed
            raw = net.net.forward_intermediates(x, indices=2, return_prefix_tokens=True)[1]
            close(two[:, :24], net.net.norm(raw[0][1])[:, 0])
        else:
            raw = net.net.forward_intermediates(x, indices=2)[1][0]
            close(two[:, : -one.shape[1]], raw.mean((2, 3)))
    head = dict(type='LinearHead', num_classes=5)
    cfg = dict(type='TimmBackbone', name=net.name, args=SMALL[net.name])
    probe = Classifier(cfg, head, blocks=2)
    assert probe.head.fc.in_features == two.shape[1]


def test_gradients_are_timms():
    net, x = build('convnext_tiny'), torch.randn(2, 3, 64, 64, dtype=torch.float64)
    parameters = [p for p in net.net.parameters()]
    ours = torch.autograd.grad(net.encode(x).pooled.square().sum(), parameters)
    theirs = torch.autograd.grad(net.net(x).square().sum(), parameters)
    for a, b in zip(ours, theirs, strict=True):
        close(a, b)


@pytest.mark.parametrize(
    ('name', 'frozen', 'first'),
    [
        ('convnext_tiny', 0, 'stages.0.'),
        ('convnext_tiny', 2, 'stages.2.'),
        ('regnety_002', 1, 's2.'),
        ('deit3_small_patch16_224', 3, 'blocks.3.'),
    ],
)
def test_frozen_stages(name, frozen, first):
    net = build(name, frozen_stages=frozen).train()
    names = [n for n, p in net.net.named_parameters() if p.requires_grad]
    assert names[0].startswith(first)
    order = [n for n, _ in net.net.named_parameters()]
    assert names == order[order.index(names[0]) :]
    for name, module in net.net.named_modules():
        if name and [*module.parameters(False)]:
            frozen = all(not p.requires_grad for p in module.parameters(False))
            assert module.training != frozen, name


def test_it_is_built_from_a_config_without_a_network(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError('a download was attempted')

    monkeypatch.setattr('timm.models._builder.load_pretrained', refuse)
    net = MODELS.build(dict(type='TimmBackbone', name='timm/regnety_002'))
    theirs = timm.create_model('regnety_002', num_classes=0).state_dict()
    assert list(net.net.state_dict()) == list(theirs)
    with pytest.raises(AssertionError, match='download'):  # only when asked
        TimmBackbone('regnety_002', pretrained=True)


METHODS = {
    'MoCoV3': dict(
        head=dict(
            type='ContrastiveHead',
            temperature=0.2,
            scaled=True,
            predictor=dict(type='MLP', dims=(8, 16, 8), last_norm=True),
        ),
        momentum=dict(start=0.9, final=1.0),
    ),
    'SwAV': dict(head=dict(type='SwAVHead', dim=8, prototypes=12)),
}


@pytest.mark.parametrize('method', METHODS)
@pytest.mark.parametrize('name', ['convnext_tiny', 'deit3_small_patch16_224', 'regnety_002'])
def test_a_pretraining_step(name, method):
    """Two sizes of crops for SwAV; the loss falls as the gradient of all parameters says."""
    backbone = dict(type='TimmBackbone', name=name, args=SMALL[name])
    width = TimmBackbone(name, SMALL[name]).num_features
    neck = dict(type='MLP', dims=(width, 16, 8))
    cfg = dict(type=method, backbone=backbone, neck=neck, **METHODS[method])
    model = MODELS.build(cfg).double().train()
    model.progress = Progress(step=2, total=10, per_epoch=5)
    sizes = (64, 64) if method == 'MoCoV3' else (64, 64, 32, 32)
    views = [torch.randn(6, 3, size, size, dtype=torch.float64) for size in sizes]
    if method == 'SwAV':  # codes have no gradient, but move with the network: hold them
        codes, fresh = {}, model.head.codes
        model.head.codes = lambda scores, crop, fill: codes.setdefault(
            crop, fresh(scores, crop, fill)
        )
    loss = model.loss(views, {})['loss']
    loss.backward()
    parameters = list(model.student.backbone.parameters())
    assert all(p.grad is not None for p in parameters)
    norm = torch.stack([p.grad.norm() for p in parameters]).norm()
    with torch.no_grad():
        for p in parameters:
            p -= 1e-6 / norm * p.grad
    moved = model.loss(views, {})['loss'] - loss
    assert moved.item() == pytest.approx(-1e-6 * norm.item(), rel=0.05)
