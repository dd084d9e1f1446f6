"""Weights by the names of timm and torchvision: addresses, networks, and their features."""

from pathlib import Path

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file

from mmssl.apis import load_config
from mmssl.checkpoint.fetch import fetch, hub
from mmssl.checkpoint.fetch.library_names import library_address
from mmssl.registry import MODELS

from ..helpers.refusals import refuses


def test_addresses() -> None:
    assert library_address('timm:test_vit.r160_in1k') == 'hf-hub:timm/test_vit.r160_in1k'
    assert library_address('timm:resnet50') == 'hf-hub:timm/resnet50.a1_in1k'  # timm's default
    weights = torchvision.models.ResNet50_Weights.DEFAULT
    assert library_address('torchvision:resnet50') == weights.url
    for other in ('x.pth', 'hf-hub:a/b', 'https://x.org/a.pth', 'C:x.pth'):
        assert library_address(other) == other


@pytest.mark.parametrize(
    ('name', 'near'), [('timm:resnet5', 'resnet50'), ('torchvision:resnet5', 'resnet50')]
)
def test_unknown_names(name: str, near: str) -> None:
    with refuses('file', name) as caught:
        fetch.local_path(name)
    assert near in str(caught.value)


def test_a_network_of_timm_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub is not asked: its file is made here."""
    net = timm.create_model('test_vit', num_classes=0).eval()
    save_file(net.state_dict(), tmp_path / 'model.safetensors')
    asked: list[str] = []
    monkeypatch.setattr(
        hub, 'fetch', lambda text: (asked.append(text), tmp_path / 'model.safetensors')[1]
    )
    cfg = load_config('knn_in1k', {'pretrained': 'timm:test_vit.r160_in1k'})
    assert cfg.model.backbone.type == 'VisionTransformer'
    backbone = MODELS.build(cfg.model.backbone).eval()
    backbone.init_weights()
    assert asked == ['hf-hub:timm/test_vit.r160_in1k']
    x = torch.randn(1, 3, 160, 160)
    with torch.no_grad():
        assert torch.allclose(backbone.encode(x).pooled, net(x), atol=1e-6)


def test_a_resnet_of_torchvision_by_name() -> None:
    cfg = load_config('knn_in1k', {'pretrained': 'torchvision:resnet18'})
    backbone = cfg.model.backbone
    assert (backbone.type, backbone.depth) == ('ResNet', 18)
    assert backbone.init_cfg.checkpoint == 'torchvision:resnet18'
    with refuses('pretrained', 'torchvision:swin_t'):
        load_config('knn_in1k', {'pretrained': 'torchvision:swin_t'})
