"""Files of DINOv2 and DINOv3, official and timm's: equal features, and back bit for bit."""

from typing import Any

import pytest
import timm
import torch
from timm.models import eva, vision_transformer
from torch import Tensor, nn
from torch.testing import assert_close

from mmssl.apis import load_config
from mmssl.checkpoint import load
from mmssl.checkpoint.architecture import vit_settings
from mmssl.checkpoint.export import export, network
from mmssl.config.pretrained import backbone_of
from mmssl.models.backbones import TimmBackbone, VisionTransformer
from mmssl.models.backbones.to_timm import twin
from mmssl.registry import MODELS

from ..helpers.refusals import refuses

C, DEPTH, HEADS, PATCHES = 128, 2, 2, 5
State = dict[str, Tensor]


def official(kind: str, registers: int, swiglu: bool, bias: bool = True) -> State:
    """Return random tensors by the names of facebookresearch/dinov2 or dinov3."""
    new = kind == 'dinov3'
    cell = 16 if new else 14
    generator = torch.Generator().manual_seed(5)

    def random(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator) * 0.2

    state = {'cls_token': random(1, 1, C), 'mask_token': random(1, C)}
    if registers:
        state['storage_tokens' if new else 'register_tokens'] = random(1, registers, C)
    if new:
        periods = 100 ** (2 * torch.arange(16) / 32)
        state['rope_embed.periods'] = periods.bfloat16()  # as published
    else:
        state['pos_embed'] = random(1, 1 + PATCHES**2, C)
    state |= {
        'patch_embed.proj.weight': random(C, 3, cell, cell),
        'patch_embed.proj.bias': random(C),
    }
    layers = {'attn.qkv': (3 * C, C), 'attn.proj': (C, C)}
    if swiglu:
        hidden = 2 * C
        gates = {'w1': (hidden, C), 'w2': (hidden, C)} if new else {'w12': (2 * hidden, C)}
        layers |= {f'mlp.{k}': v for k, v in {**gates, 'w3': (C, hidden)}.items()}
    else:
        layers |= {'mlp.fc1': (4 * C, C), 'mlp.fc2': (C, 4 * C)}
    for i in range(DEPTH):
        block = f'blocks.{i}.'
        for name, shape in layers.items():
            state[f'{block}{name}.weight'] = random(*shape)
            if bias or name != 'attn.qkv':
                state[f'{block}{name}.bias'] = random(shape[0])
        if new and bias:
            mask = torch.ones(3 * C)
            mask[C : 2 * C] = 0
            state[f'{block}attn.qkv.bias_mask'] = mask
        for name in ('norm1', 'norm2'):
            state |= {f'{block}{name}.weight': random(C), f'{block}{name}.bias': random(C)}
        state |= {f'{block}ls1.gamma': random(C), f'{block}ls2.gamma': random(C)}
    state |= {'norm.weight': random(C), 'norm.bias': random(C)}
    return state


FILES = {
    'dinov2': dict(kind='dinov2', registers=0, swiglu=False),
    'dinov2-registers': dict(kind='dinov2', registers=4, swiglu=False),
    'dinov2-swiglu': dict(kind='dinov2', registers=4, swiglu=True),
    'dinov3': dict(kind='dinov3', registers=4, swiglu=False),
    'dinov3-swiglu': dict(kind='dinov3', registers=4, swiglu=True),
    'dinov3-no-bias': dict(kind='dinov3', registers=4, swiglu=True, bias=False),
}


def timms(state: State, kind: str, registers: int, swiglu: bool, bias: bool = True) -> nn.Module:
    """Return timm's network, filled by timm's own reading of an official file."""
    args: dict[str, Any] = dict(
        embed_dim=C, depth=DEPTH, num_heads=HEADS, num_classes=0, global_pool='token'
    )
    if kind == 'dinov3':
        name = 'vit_small_plus_patch16_dinov3' if swiglu else 'vit_small_patch16_dinov3'
        args |= dict(qkv_bias=bias, mlp_ratio=2 if swiglu else 4)
        module: Any = eva
    else:
        name = f'vit_{"giant" if swiglu else "small"}_patch14{"_reg4" * bool(registers)}_dinov2'
        args |= dict(img_size=PATCHES * 14, mlp_ratio=4)
        module = vision_transformer
    net = timm.create_model(name, **args)
    read = module.checkpoint_filter_fn(dict(state), net)
    missing, unexpected = net.load_state_dict(read, strict=False)
    assert (missing, unexpected) == ([], [])
    if kind == 'dinov3':  # timm computes what the file rounds
        net.rope.periods.copy_(state['rope_embed.periods'])
    return net.eval()


def same(a: State, b: State) -> None:
    assert set(a) == set(b)
    for key, value in a.items():
        assert value.dtype == b[key].dtype
        assert torch.equal(value, b[key]), key


@pytest.mark.parametrize('case', FILES)
def test_an_official_file_gives_timms_features_and_comes_back(case, tmp_path):
    options = FILES[case]
    state, kind = official(**options), options['kind']
    path = tmp_path / 'official.pth'
    torch.save(state, path)
    found = network(path)
    assert found.layout == kind
    same(export(found.state, kind).state, state)
    settings = backbone_of(str(path))
    settings.pop('type')
    assert settings['arch'] == (C, DEPTH, HEADS)
    backbone = VisionTransformer(**settings, mask_token=True)
    report = load(backbone, path)
    assert (report.missing, report.unexpected, report.new) == ([], [], [])
    assert report.dropped == report.resized == []
    assert torch.equal(backbone.mask_token, state['mask_token'])
    net = timms(state, **options).double()
    size = PATCHES * 14 if kind == 'dinov2' else 64
    images = torch.randn(2, 3, size, size).double()
    if kind == 'dinov3':
        net.set_input_size((64, 64))
    features = backbone.eval().double().encode(images)
    tokens = net.forward_features(images)
    assert_close(features.pooled, tokens[:, 0], rtol=0, atol=1e-6)
    assert_close(features.tokens, tokens[:, 1 + options['registers'] :], rtol=0, atol=1e-6)


@pytest.mark.parametrize('case', FILES)
def test_timms_form_of_it_there_and_back(case, tmp_path):
    """From timm's tensors to ours and back, and from the official ones to timm's network."""
    options = FILES[case]
    state, kind = official(**options), options['kind']
    net = timms(state, **options)
    path = tmp_path / 'timm.pth'
    torch.save(net.state_dict(), path)
    found = network(path)
    assert found.layout == ('timm_dinov3' if kind == 'dinov3' else 'timm')
    same(export(found.state, 'timm').state, dict(net.state_dict()))
    backbone = VisionTransformer(**{k: v for k, v in backbone_of(str(path)).items() if k != 'type'})
    assert load(backbone, path).missing == []
    size = PATCHES * 14 if kind == 'dinov2' else 224
    images = torch.randn(2, 3, size, size)
    if kind == 'dinov3':
        backbone.net.rope.periods.copy_(state['rope_embed.periods'])
    ours = backbone.eval().double().encode(images.double())
    assert_close(ours.pooled, net.double()(images.double()), rtol=0, atol=1e-6)

    torch.save(state, path)
    written = export(network(path).state, 'timm').state
    same(written, dict(timms(state, **options).state_dict()))


@pytest.mark.parametrize('name', ['vit_small_patch16_dinov3_qkvb', 'vit_small_patch14_reg4_dinov2'])
def test_timms_own_network_takes_both_forms(name, tmp_path):
    """A `TimmBackbone` keeps timm's tensors, and reads the official file."""
    kind = name.rpartition('_')[2] if 'dinov2' in name else 'dinov3'
    state = official(kind, 4, False)
    args = dict(embed_dim=C, depth=DEPTH, num_heads=HEADS, global_pool='token')
    args |= dict(img_size=PATCHES * 14) if kind == 'dinov2' else dict(qkv_bias=True)
    filled = timms(state, kind, 4, False)
    backbone = TimmBackbone(name, args).eval()
    for form, content in (('timm', filled.state_dict()), ('official', state)):
        for parameter in backbone.parameters():
            nn.init.zeros_(parameter)
        path = tmp_path / f'{form}.pth'
        torch.save(content, path)
        report = load(backbone, path)
        assert (report.missing, report.mismatched) == ([], []), form
        same(dict(backbone.net.state_dict()), dict(filled.state_dict()))


def test_positions_of_another_size_are_resized_and_said(tmp_path):
    state = official('dinov2', 0, False)
    path = tmp_path / 'x.pth'
    torch.save(state, path)
    settings = {k: v for k, v in backbone_of(str(path)).items() if k != 'type'}
    whole = VisionTransformer(**settings).eval()
    small = VisionTransformer(**settings | dict(img_size=42)).eval()
    load(whole, path)
    report = load(small, path)
    assert report.resized == ['net.pos_embed 5x5 -> 3x3']
    assert '1 resized (net.pos_embed 5x5 -> 3x3)' in str(report)
    images = torch.randn(1, 3, 42, 42)
    # the network of 70 px resizes its table for these images, by the same rule
    assert_close(small.encode(images).pooled, whole.encode(images).pooled, rtol=0, atol=1e-5)
    model = MODELS.build(dict(type='Encoder', backbone=dict(type='VisionTransformer', **settings)))
    assert load(model, path).resized == []


def test_a_plain_evaluation_names_the_file_alone(tmp_path):
    path = tmp_path / 'x.pth'
    torch.save(official('dinov2', 4, True), path)
    cfg = load_config('knn_in1k', {'pretrained': str(path)})
    backbone = cfg.model.backbone
    assert (backbone.type, backbone.registers, backbone.mlp) == ('VisionTransformer', 4, 'swiglu')
    assert (backbone.img_size, backbone.interpolate_antialias) == (70, True)
    cfg = load_config('knn_in1k', {'pretrained': 'timm:vit_small_patch14_dinov2.lvd142m'})
    assert (cfg.model.backbone.type, cfg.model.backbone.img_size) == ('VisionTransformer', 518)
    cfg = load_config('knn_in1k', {'pretrained': 'timm:vit_small_patch16_dinov3.lvd1689m'})
    assert cfg.model.backbone.positions == 'rotary'


def test_a_library_without_such_a_network_is_refused(tmp_path):
    path = tmp_path / 'x.pth'
    torch.save(official('dinov2', 0, False), path)
    state = network(path).state
    with refuses('target', 'mmseg'):
        export(state, 'mmseg')
    with refuses('target', 'dinov3'):
        export(state, 'dinov3')
    assert export(state, 'mmdet').state.keys() == state.keys()  # a ViT there is ours
    torch.save(official('dinov3', 4, False), path)
    with refuses('target', 'dinov2'):
        export(network(path).state, 'dinov2')


@pytest.mark.parametrize('case', FILES)
def test_timm_has_the_network_by_name(case, tmp_path):
    """What the Hugging Face export writes, timm builds and fills."""
    path = tmp_path / 'x.pth'
    torch.save(official(**FILES[case]), path)
    backbone = VisionTransformer(**{k: v for k, v in backbone_of(str(path)).items() if k != 'type'})
    load(backbone, path)
    name, args, differs = twin(backbone)
    assert bool(differs) == (case != 'dinov2'), differs
    net = timm.create_model(name, num_classes=0, **args)
    net.load_state_dict(export(backbone.state_dict(), 'timm').state)
    if case.startswith('dinov2'):
        images = torch.randn(1, 3, PATCHES * 14, PATCHES * 14).double()
        found = net.eval().double()(images)
        atol = 1e-6 if differs else 1e-9
        assert_close(found, backbone.eval().double().encode(images).pooled, rtol=0, atol=atol)


def test_sizes_tell_the_settings():
    backbone = VisionTransformer((64, 2, 4), img_size=28, patch_size=14, mlp='swiglu', mlp_ratio=2)
    settings = vit_settings(backbone.state_dict(), 4, None)
    assert settings == dict(
        type='VisionTransformer', arch=(64, 2, 4), patch_size=14, img_size=28, mlp='swiglu',
        mlp_ratio=2,
    )  # fmt: skip
