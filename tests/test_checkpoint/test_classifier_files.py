"""Classifier files of every publisher, whole or the head alone."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from mmssl.checkpoint import load, read
from mmssl.checkpoint.layouts import LAYOUTS

from ..helpers.classifiers import RESNET, SWIN, VIT, WHOLE, classifier, optimizer, renamed, saved
from ..helpers.paths import GOLDEN
from ..helpers.refusals import refuses

ESVIT = GOLDEN / 'esvit_linear_a'


@pytest.mark.parametrize('name', WHOLE)
def test_whole_classifiers_answer_as_their_own(name: str, tmp_path: Path) -> None:
    source, path = saved(name, tmp_path / 'x.pth')
    model = classifier(WHOLE[name][0], 6)
    report = load(model, path)
    assert report.layout == WHOLE[name][1]
    assert not (report.missing or report.unexpected or report.mismatched or report.dropped)
    image = torch.rand(2, 3, 64, 64).double()
    assert torch.equal(model.logits(image), source.logits(image))


def test_mobys_linear_file(golden: Callable[[str], Any]) -> None:
    """The recorded classifier of the official code gives its logits."""
    case = golden('moby_linear_a')
    net = dict(
        type='SwinTransformer', arch=(8, (1, 2, 1, 1), (1, 2, 4, 4)), img_size=32, patch_size=2,
        window_size=4,
    )  # fmt: skip
    model = classifier(net, classes=10)
    report = load(model, case.folder / 'linear_official.pth')
    assert report.missing == report.unexpected == []
    with torch.no_grad():
        logits = model.logits(case.batch['image'].double())
    assert float((logits - case.expect['logits']).abs().max()) < 1e-9


# heads without a network --------------------------------------------------------------------------
def esvit(**more: Any) -> Any:
    net = dict(SWIN, arch=(8, (1, 1, 3, 2), (1, 2, 4, 8)), img_size=64, window_size=4, **more)
    return classifier(net, classes=7, blocks=4)


@pytest.mark.parametrize('way', ['loaded before', 'init_cfg'])
def test_a_head_over_a_network_given_apart(way: str, golden: Callable[[str], Any]) -> None:
    case = golden('esvit_linear_a')
    pretrained = str(ESVIT / 'official.pth')
    cfg = dict(type='Pretrained', checkpoint=pretrained)
    model = esvit(**({'init_cfg': cfg} if way == 'init_cfg' else {}))
    if way == 'loaded before':
        load(model, pretrained, part='backbone')
    report = load(model, ESVIT / 'linear_checkpoint.pth.tar')
    assert report.matched == ['head.fc.weight', 'head.fc.bias']
    file = read(ESVIT / 'linear_checkpoint.pth.tar')['state_dict']
    feature = case.expect['feat.last_blocks_4']
    wanted = F.linear(feature, file['module.linear.weight'], file['module.linear.bias'])
    with torch.no_grad():
        found = model.logits(case.batch['image_0'].double())
    assert float((found - wanted).abs().max() / wanted.abs().max()) < 1e-9


def test_swavs_head_over_its_hub_file(tmp_path: Path) -> None:
    """The network is a flat file with a projection and prototypes, the classifier another."""
    source = classifier(RESNET, 5)
    width = source.head.fc.in_features
    net = {k: v for k, v in source.state_dict().items() if k.startswith('backbone.')}
    hub = {f'module.{k}': v for k, v in LAYOUTS['torchvision'].restore(net).items()}
    hub |= {'module.projection_head.0.weight': torch.ones(8, width)}
    hub |= {'module.prototypes.weight': torch.ones(5, 8)}
    torch.save(hub, tmp_path / 'net.pth.tar')
    head = {f'module.linear.{k}': v for k, v in source.head.fc.state_dict().items()}
    extra = dict(epoch=100, optimizer=optimizer(2), scheduler={}, best_acc=75.3)
    torch.save(dict(state_dict=head, **extra), tmp_path / 'head.pth.tar')
    cfg = dict(type='Pretrained', checkpoint=str(tmp_path / 'net.pth.tar'))
    model = classifier(dict(RESNET, init_cfg=cfg), 6)
    report = load(model, tmp_path / 'head.pth.tar')
    assert (report.layout, report.matched) == ('linear', ['head.fc.weight', 'head.fc.bias'])
    image = torch.rand(2, 3, 64, 64).double()
    assert torch.equal(model.logits(image), source.logits(image))


def test_a_head_alone_is_no_classifier() -> None:
    with refuses('model.backbone.init_cfg.checkpoint'):
        load(esvit(), ESVIT / 'linear_checkpoint.pth.tar')


def test_the_best_of_ibots_heads(tmp_path: Path) -> None:
    heads = [torch.randn(3, 24) for _ in range(4)]
    state = {f'{i}.module.linear.weight': w for i, w in enumerate(heads)}
    state |= {f'{i}.module.linear.bias': w[:, 0].clone() for i, w in enumerate(heads)}
    content = dict(epoch=3, state_dict=state, best_acc=70.0, best_acc_hidx=2)
    torch.save(content, tmp_path / 'x.pth')
    model = classifier(VIT)
    torch.save(renamed(classifier(VIT, 3), 'timm'), tmp_path / 'net.pth')
    load(model, tmp_path / 'net.pth', part='backbone')
    load(model, tmp_path / 'x.pth')
    assert torch.equal(model.head.fc.weight, heads[2].double())
    del content['best_acc_hidx']
    torch.save(content, tmp_path / 'x.pth')
    with refuses('file', str(tmp_path / 'x.pth')) as caught:
        load(model, tmp_path / 'x.pth')
    assert 'holds 4 classifiers' in str(caught.value)


def test_a_norm_that_ours_lacks_is_refused(tmp_path: Path) -> None:
    """SwAV's classifier behind a batch norm of its own."""
    state = {'module.linear.weight': torch.ones(3, 24), 'module.linear.bias': torch.ones(3)}
    state |= {f'module.bn.{k}': torch.ones(24) for k in ('weight', 'bias', 'running_mean')}
    torch.save({'state_dict': state}, tmp_path / 'x.pth')
    torch.save(renamed(classifier(VIT, 3), 'timm'), tmp_path / 'net.pth')
    model = classifier(VIT)
    load(model, tmp_path / 'net.pth', part='backbone')
    with refuses('file', str(tmp_path / 'x.pth')) as caught:
        load(model, tmp_path / 'x.pth')
    assert '(head.norm.weight' in str(caught.value)


def test_other_classes_are_refused(tmp_path: Path) -> None:
    _, path = saved('MoCo v3 ViT, linear', tmp_path / 'x.pth')
    with refuses('file', str(path)) as caught:
        load(classifier(VIT, classes=5), path)
    assert 'head.fc.weight (3, 24) for (5, 24)' in str(caught.value)


# DINO's layer over class token and mean patch -----------------------------------------------------
DINO = GOLDEN / 'dino_linear_a'


def dino(pool: str) -> Any:
    model = classifier(
        dict(type='VisionTransformer', arch=(30, 2, 3), img_size=48, patch_size=8),
        classes=7,
        pool=pool,
    )
    load(model, DINO / 'official.pth', part='backbone')
    return model


def test_dinos_interleaved_layer(golden: Callable[[str], Any]) -> None:
    case = golden('dino_linear_a')
    model = dino('interleaved')
    load(model, DINO / 'linear_checkpoint.pth.tar')
    layer = {k: case.expect[f'after.n1_avgpool.module.linear.{k}'] for k in ('weight', 'bias')}
    wanted = F.linear(case.expect['feat.n1_avgpool'], layer['weight'], layer['bias'])
    with torch.no_grad():
        found = model.logits(case.batch['image_0'].double())
    assert float((found - wanted).abs().max() / wanted.abs().max()) < 1e-9


def test_a_layer_whose_order_is_not_known_is_refused() -> None:
    model = dino('cls+mean')
    with refuses('model.pool', 'cls+mean'):
        load(model, DINO / 'linear_checkpoint.pth.tar')
    load(model, DINO / 'linear_checkpoint.pth.tar', layout='linear')  # asked for
    stored = read(DINO / 'linear_checkpoint.pth.tar')['state_dict']['module.linear.weight']
    assert torch.equal(model.head.fc.weight, stored.double())


def test_the_best_of_ibots_heads_is_in_a_row(tmp_path: Path) -> None:
    """Its sweep names the best head, and its features are not interleaved."""
    weight = torch.randn(7, 60)
    state = {'0.module.linear.weight': weight, '0.module.linear.bias': weight[:, 0].clone()}
    torch.save(dict(state_dict=state, best_acc_hidx=0), tmp_path / 'x.pth')
    model = dino('cls+mean')
    load(model, tmp_path / 'x.pth')
    assert torch.equal(model.head.fc.weight, weight.double())
