"""Files of VISSL, lightly, solo-learn, Hugging Face and Lightning: the network is the file's."""

import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torchvision
from torch import Tensor, nn

from mmssl.checkpoint import load, read
from mmssl.checkpoint.layouts import LAYOUTS, detect
from mmssl.models.backbones import ResNet, VisionTransformer

from ..helpers.refusals import refuses

State = dict[str, Tensor]
HEAD = {'weight': torch.ones(4, 4)}


def put(prefix: str, state: State) -> State:
    return {prefix + key: value for key, value in state.items()}


def resnet() -> nn.Module:
    torch.manual_seed(0)
    net = torchvision.models.resnet18()
    net.fc = nn.Identity()
    return net


def vit() -> nn.Module:
    torch.manual_seed(0)
    return timm.models.VisionTransformer(
        img_size=32, patch_size=16, embed_dim=32, depth=2, num_heads=2, num_classes=0
    )


def vissl(state: State) -> dict[str, Any]:
    model = dict(trunk=state, heads=put('0.clf.0.', HEAD))
    return dict(classy_state_dict=dict(base_model=dict(model=model, meta={}), phase_idx=3))


def solo_learn(net: nn.Module) -> dict[str, Any]:
    parts = put('backbone.', net.state_dict()) | put('projector.0.', HEAD)
    return dict(state_dict=parts | put('momentum_backbone.', net.state_dict()), epoch=3)


def lightly(net: nn.Module) -> dict[str, Any]:
    """The children of torchvision's network in a row, as its tutorials build it."""
    row = nn.Sequential(*list(net.children())[:-1])
    heads = put('projection_head.layers.0.', HEAD)
    teacher = put('backbone_momentum.', row.state_dict())
    return dict(state_dict=put('backbone.', row.state_dict()) | heads | teacher)


def huggingface(net: nn.Module, prefix: str = 'vit.') -> State:
    """The names of transformers' ViTModel, whose queries, keys and values are three layers."""
    renames = [
        ('cls_token', 'embeddings.cls_token'), ('pos_embed', 'embeddings.position_embeddings'),
        ('patch_embed.proj', 'embeddings.patch_embeddings.projection'),
        ('blocks.', 'encoder.layer.'), ('norm1', 'layernorm_before'), ('norm2', 'layernorm_after'),
        ('attn.proj', 'attention.output.dense'), ('mlp.fc1', 'intermediate.dense'),
        ('mlp.fc2', 'output.dense'),
    ]  # fmt: skip
    found: State = {}
    for key, value in net.state_dict().items():
        name = key
        for old, new in renames:
            name = name.replace(old, new)
        name = f'layernorm.{name[5:]}' if name.startswith('norm.') else name
        if '.attn.qkv.' in name:
            for part, third in zip(('query', 'key', 'value'), value.chunk(3), strict=True):
                found[name.replace('attn.qkv', f'attention.attention.{part}')] = third
        else:
            found[name] = value
    return put(prefix, found) | put('vit.pooler.dense.', HEAD)


def compiled(net: nn.Module) -> State:
    """torch.compile on the whole and on a part of it."""
    half = {k.replace('layer1.', 'layer1._orig_mod.'): v for k, v in net.state_dict().items()}
    return put('_orig_mod.', half)


FILES: dict[str, tuple[str, Callable[[], nn.Module], Callable[[nn.Module], dict[str, Any]]]] = {
    'VISSL ResNet': (
        'vissl', resnet, lambda net: vissl(put('_feature_blocks.', net.state_dict()))
    ),
    'VISSL ViT': ('vissl', vit, lambda net: vissl(net.state_dict())),
    'solo-learn ResNet': ('solo-learn', resnet, solo_learn),
    'solo-learn ViT': ('solo-learn', vit, solo_learn),
    'lightly ResNet': ('lightly', resnet, lightly),
    'ViTModel': ('huggingface-vit', vit, huggingface),
    'ViTModel alone': ('huggingface-vit', vit, lambda net: huggingface(net, '')),
    'compiled ResNet': ('torchvision', resnet, compiled),
    'compiled ViT': ('timm', vit, lambda net: put('_orig_mod.', net.state_dict())),
    'Lightning encoder': (
        'torchvision', resnet, lambda net: dict(state_dict=put('encoder.', net.state_dict()))
    ),
    'Lightning model': (
        'timm', vit, lambda net: dict(state_dict=put('model.', net.state_dict()))
    ),
    'Lightning compiled': (
        'torchvision', resnet,
        lambda net: dict(state_dict=put('model._orig_mod.', net.state_dict())),
    ),
}  # fmt: skip


@pytest.mark.parametrize('name', FILES)
def test_the_network_of_the_file(name: str, tmp_path: Path) -> None:
    layout, build, write = FILES[name]
    net = build().eval()
    torch.save(write(net), tmp_path / 'x.pth')
    content = read(tmp_path / 'x.pth')
    assert [each.name for each in LAYOUTS.values() if each.find(content)] == [layout]
    ours = ResNet(18) if build is resnet else VisionTransformer((32, 2, 2), img_size=32)
    report = load(ours, tmp_path / 'x.pth', part='backbone', verbose=False)
    assert report.layout == layout
    assert not (report.missing or report.mismatched)
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        expected = net(images)
        assert torch.allclose(ours.eval().encode(images).pooled, expected, atol=1e-5)


def test_a_vit_with_more_than_the_table_is_not_taken_for_one() -> None:
    state = huggingface(vit()) | {'vit.encoder.layer.0.layer_scale1.lambda1': torch.ones(32)}
    with refuses('file', 'x.pth'):
        detect(state, 'x.pth')


@pytest.mark.parametrize('name', ['x.pth', """it's $(touch made) `touch made` "x".pth"""])
def test_a_refused_pickle_can_be_saved_again(name: str, tmp_path: Path) -> None:
    """The command of the message, run by a user who trusts the file; its name runs nothing."""
    path = tmp_path / name
    torch.save(dict(state_dict=resnet().state_dict(), settings=torch.nn.ReLU()), path)
    with refuses('file', str(path)) as caught:
        read(path)
    command = str(caught.value).partition('alone: ')[2]
    assert command.startswith('python -c ')
    command = command.replace('python', shlex.quote(sys.executable), 1)
    subprocess.run(['bash', '-c', command], cwd=tmp_path, check=True)
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted([name, 'tensors.pth'])
    report = load(ResNet(18), tmp_path / 'tensors.pth', part='backbone', verbose=False)
    assert not report.missing
