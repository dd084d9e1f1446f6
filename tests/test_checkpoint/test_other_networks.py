"""Files of another network are refused, also where all tensors of the model are in them."""

from pathlib import Path
from typing import Any

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer as TimmViT
from torch import nn

from mmssl.apis import get_model
from mmssl.checkpoint import load
from mmssl.checkpoint.architecture import additions
from mmssl.checkpoint.export import export, network
from mmssl.checkpoint.layouts import LAYOUTS
from mmssl.checkpoint.matching import of_another_network
from mmssl.cli import extract_backbone
from mmssl.models.backbones import CvT, ResNet, SwinTransformer, TimmBackbone, VisionTransformer
from mmssl.models.backbones.vit import resize_positions

from ..helpers.methods import build
from ..helpers.refusals import refuses

VIT: dict[str, Any] = dict(
    img_size=32, patch_size=8, embed_dim=48, depth=3, num_heads=3, num_classes=0
)
RESNET: dict[str, Any] = dict(width=4, layers=(1, 1, 2, 1))
SWIN: dict[str, Any] = dict(img_size=64, window_size=2)


def vit(**options: Any) -> VisionTransformer:
    """A small ViT of ours."""
    return VisionTransformer(**{**dict(arch=(48, 3, 3), img_size=32, patch_size=8), **options})


def swin(*depths: int) -> SwinTransformer:
    """A small Swin of ours."""
    return SwinTransformer(arch=(8, depths, (1, 2)), **SWIN)


def write(path: Path, state: dict[str, torch.Tensor], **more: Any) -> Path:
    """Write tensors as a file of one network."""
    torch.save({'state_dict': state, **more}, path)
    return path


def squeezed(net: ResNet) -> dict[str, torch.Tensor]:
    """A ResNet of torchvision's names with a squeeze-and-excitation in each block."""
    state = dict(net.net.state_dict())
    return state | {'layer1.0.se.fc1.weight': torch.ones(1, 16, 1, 1)}


def foreign(kind: str) -> tuple[nn.Module, dict[str, torch.Tensor], str]:
    """Return (model, tensors of another network, what its refusal names)."""
    resnet = ResNet(**RESNET)
    if kind == 'deeper resnet':
        return resnet, ResNet(**{**RESNET, 'layers': (1, 1, 3, 1)}).net.state_dict(), 'layers='
    if kind == 'more stages':
        return ResNet(width=4, layers=(1, 1)), ResNet(**RESNET).net.state_dict(), 'layers='
    if kind == 'squeeze':
        return resnet, squeezed(resnet), 'se.fc1'
    if kind == 'deeper swin':
        return swin(2, 2), swin(2, 4).net.state_dict(), 'depths=(2, 4) for (2, 2)'
    other = {
        'deeper vit': (dict(depth=4), 'depth=4 for 3'),
        'layer scale': (dict(init_values=0.1), 'ls1.gamma'),
        'registers': (dict(reg_tokens=4, no_embed_class=True), 'reg_token'),
        'qk norm': (dict(qk_norm=True), 'q_norm'),
        'norm before': (dict(pre_norm=True), 'norm_pre'),
    }
    options, named = other[kind]
    state = TimmViT(**{**VIT, **options}).state_dict()
    if kind == 'registers':  # positions of the class token too, as DINOv2 stores them
        state['pos_embed'] = torch.zeros(1, 17, 48)
    return vit(), state, named


KINDS = (
    *('deeper resnet', 'more stages', 'squeeze', 'deeper swin', 'deeper vit'),
    *('layer scale', 'registers', 'qk norm', 'norm before'),
)


@pytest.mark.parametrize('kind', KINDS)
def test_a_bigger_network_is_not_the_smaller_one(kind: str, tmp_path: Path) -> None:
    model, state, named = foreign(kind)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    path = write(tmp_path / 'other.pth', state)
    with refuses('file', str(path)) as caught:
        load(model, path)
    assert 'does not hold this backbone' in str(caught.value)
    assert named in str(caught.value)
    for key, value in model.state_dict().items():  # refused before anything is filled
        assert torch.equal(value, before[key]), key


LIBRARIES = {
    'mmpretrain, bare': ('mmpretrain', ''),
    'mmpretrain, wrapped': ('mmpretrain', 'module.'),
    'mmpretrain': ('mmpretrain', 'backbone.'),
    'mmseg, bare': ('mmseg', ''),
    'mmseg': ('mmseg', 'backbone.'),
}


@pytest.mark.parametrize('library', LIBRARIES)
@pytest.mark.parametrize(
    'extra', ['register_tokens', 'reg_token', 'dist_token', 'layers.1.ls1.weight', 'norm_pre.bias']
)
def test_more_in_a_file_of_a_library(library: str, extra: str, tmp_path: Path) -> None:
    layout, wrap = LIBRARIES[library]
    names = LAYOUTS[layout].restore({f'backbone.{k}': v for k, v in vit().state_dict().items()})
    state = {f'{wrap}{key.removeprefix("backbone.")}': value for key, value in names.items()}
    net = vit()
    report = load(net, write(tmp_path / 'same.pth', state))
    assert (report.layout, len(report.matched)) == (layout, len(net.state_dict()))
    path = write(tmp_path / 'other.pth', {**state, f'{wrap}{extra}': torch.ones(1, 4, 48)})
    with refuses('file', str(path)) as caught:
        load(net, path)
    assert extra.split('.')[-2 if '.' in extra else 0] in str(caught.value)


def test_what_a_network_computes_and_heads_over_it_are_no_other_network(tmp_path: Path) -> None:
    net = vit()
    more = {
        'blocks.0.attn.relative_position_index': torch.zeros(4, 4),
        'head.fc1.weight': torch.ones(3, 48),
        'projection.0.weight': torch.ones(3, 48),
        'decoder_blocks.0.norm1.weight': torch.ones(5),
        'decoder_pos_embed': torch.ones(1, 17, 5),
        'mask_token': torch.ones(1, 1, 48),
    }
    state = TimmViT(**VIT).state_dict()
    report = load(net, write(tmp_path / 'x.pth', {**state, **more}))
    assert torch.equal(net.net.norm.weight, state['norm.weight'])
    assert len(report.matched) == len(state)


def test_networks_without_the_last_norm_take_files_that_have_it(tmp_path: Path) -> None:
    report = load(vit(last_norm=False), write(tmp_path / 'x.pth', TimmViT(**VIT).state_dict()))
    assert report.unexpected == ['net.norm.weight', 'net.norm.bias']


@pytest.mark.parametrize(
    ('names', 'found'),
    [
        (['student.backbone.net.layer1.1.conv1.weight'], 1),
        (['teacher.backbone.net.layer1.1.conv1.weight'], 0),  # a branch that the model lacks
        (['student.backbone.net.neck.0.weight'], 0),
        (['student.backbone.net.layer9.0.conv1.weight'], 1),
        (['student.backbone.net.layer1.0.bn1.num_batches_tracked'], 0),
    ],
)
def test_names_of_another_network(names: list[str], found: int) -> None:
    target = ['student.backbone.net.conv1.weight', 'student.backbone.net.layer1.0.conv1.weight']
    assert len(of_another_network(names, target)) == found


def test_our_own_deeper_file_fills_no_method(tmp_path: Path) -> None:
    deeper = build('mocov3').state_dict()
    extra = {
        key.replace('layer2.0', 'layer2.1'): value for key, value in deeper.items() if 'r2.0' in key
    }
    assert extra
    path = write(tmp_path / 'x.pth', {**deeper, **extra})
    for part in ('all', 'backbone'):
        with refuses('file', str(path)):
            load(build('mocov3', 1), path, part=part)


def test_positions_of_another_size_of_images_are_resized(tmp_path: Path) -> None:
    state = TimmViT(**VIT).state_dict()
    net = vit(img_size=64)
    report = load(net, write(tmp_path / 'x.pth', state))
    assert report.resized == ['net.pos_embed 4x4 -> 8x8']
    assert torch.equal(net.net.pos_embed, resize_positions(state['pos_embed'], 8, 8, 0.1))


# what tensors do not tell -------------------------------------------------------------------------
def ours(path: Path, net: nn.Module, **settings: Any) -> Path:
    """Write one of our own files, which states the settings of its network."""
    kind = dict(type=type(net).__name__, **settings)
    meta = dict(settings=dict(model=dict(backbone=kind)))
    state = {f'backbone.{key}': value for key, value in net.state_dict().items()}
    return write(path, state, meta=meta)


@pytest.mark.parametrize(
    ('settings', 'other', 'named'),
    [
        (dict(arch=(48, 3, 3)), dict(arch=(48, 3, 6)), 'num_heads=3 for 6'),
        (dict(arch=(48, 3, 3), num_heads=6), {}, 'num_heads=6 for 3'),
        (dict(arch=(48, 3, 3), norm_eps=1e-3), {}, 'norm_eps=0.001 for 1e-06'),
    ],
)
def test_heads_and_epsilon_of_our_own_files(
    settings: dict[str, Any], other: dict[str, Any], named: str, tmp_path: Path
) -> None:
    path = ours(tmp_path / 'x.pth', vit(**settings), **settings)
    load(vit(**settings), path)
    with refuses('file', str(path)) as caught:
        load(vit(**other), path)
    assert named in str(caught.value)


def test_heads_and_windows_of_a_cvt(tmp_path: Path) -> None:
    sizes: dict[str, Any] = dict(widths=(4, 8, 8, 8), depths=(1, 1, 1, 1), windows=(2, 2, 2, 2))
    path = ours(tmp_path / 'x.pth', CvT(num_heads=(1, 2, 2, 2), **sizes), **sizes)
    # the settings leave heads out: those of the class
    with refuses('file', str(path)) as caught:
        load(CvT(num_heads=(1, 2, 2, 2), **sizes), path)
    assert 'num_heads=(1, 3, 6, 12) for (1, 2, 2, 2)' in str(caught.value)


def test_heads_of_a_timm_network(tmp_path: Path) -> None:
    options = dict(img_size=32, patch_size=8, embed_dim=48, depth=3)
    net = TimmBackbone('vit_tiny_patch16_224', args=dict(options, num_heads=3))
    path = ours(tmp_path / 'x.pth', vit(num_heads=6), num_heads=6)
    with refuses('file', str(path)) as caught:
        load(net, path)
    assert 'num_heads=6 for 3' in str(caught.value)


@pytest.mark.parametrize(('heads', 'fits'), [(12, True), (6, False)])
def test_moco_v3_tells_its_heads(heads: int, fits: bool, tmp_path: Path) -> None:
    net = vit(arch=(384, 1, heads))
    state = {f'module.base_encoder.{k}': v for k, v in net.net.state_dict().items()}
    path = write(tmp_path / 'x.pth', state)
    if fits:
        assert load(net, path).missing == []
        return
    with refuses('file', str(path)) as caught:
        load(net, path)
    assert 'num_heads=12 for 6' in str(caught.value)


def test_the_epsilon_of_a_method_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    monkeypatch.setattr(
        'mmssl.checkpoint.hyperparameters.print_log', lambda line, **_: lines.append(line)
    )
    for eps in (1e-5, 1e-6):
        net = vit(norm_eps=eps)
        state = {f'module.base_encoder.{k}': v for k, v in net.net.state_dict().items()}
        load(net, write(tmp_path / 'x.pth', state))
    assert len(lines) == 1
    assert 'norm_eps=1e-06 for 1e-05; set model.backbone.norm_eps=1e-06' in lines[0]


# by every road ------------------------------------------------------------------------------------
def test_models_by_config_refuse_another_network(tmp_path: Path) -> None:
    from mmengine.config import Config

    backbone = dict(type='VisionTransformer', arch=(48, 3, 3), img_size=32, patch_size=8)
    cfg = Config(dict(model=dict(type='Encoder', backbone=backbone)))
    path = write(tmp_path / 'x.pth', TimmViT(**VIT, init_values=0.1).state_dict())
    with refuses('file', str(path)):
        get_model(cfg, pretrained=path)


def test_converters_refuse_what_a_library_does_not_have(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    state = TimmViT(**VIT, qk_norm=True).state_dict()
    path = write(tmp_path / 'x.pth', state)
    found = network(path)
    assert additions(found.state)[0] == 'net.blocks.0.attn.q_norm.weight'
    for target in ('mmseg', 'mmdet'):
        with refuses('target', target) as caught:
            export(found.state, target)
        assert 'q_norm.weight' in str(caught.value)
    assert export(found.state, 'timm').state.keys() == state.keys()
    extract_backbone.main([str(path), str(tmp_path / 'out.pth')])
    assert "type='mmssl.TimmBackbone'" in capsys.readouterr().out


def test_layer_scale_is_no_other_network(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = write(tmp_path / 'x.pth', TimmViT(**VIT, init_values=0.1).state_dict())
    state = network(path).state
    assert additions(state) == []
    with refuses('target', 'mmseg') as caught:
        export(state, 'mmseg')
    assert 'layer_scale' in str(caught.value)
    extract_backbone.main([str(path), str(tmp_path / 'out.pth')])
    printed = capsys.readouterr().out
    assert "type='mmssl.VisionTransformer'" in printed
    assert 'layer_scale=1e-05' in printed


def test_plain_networks_have_no_additions() -> None:
    for net in (vit(), vit(stem='conv'), ResNet(**RESNET), ResNet(18, (1, 1, 1, 1), 4)):
        assert additions(net.state_dict()) == [], type(net).__name__
    assert additions({f'net.{k}': v for k, v in squeezed(ResNet(**RESNET)).items()})


@pytest.mark.parametrize('part', ['patch_embed.proj.0.weight', None])
def test_a_swin_with_another_stem_is_refused_by_its_file(part: str | None, tmp_path: Path) -> None:
    state = {k: v for k, v in swin(2, 2).net.state_dict().items() if 'patch_embed.proj' not in k}
    if part:
        state[part] = torch.ones(4, 3, 3, 3)
    path = write(tmp_path / 'x.pth', state)
    with refuses('file', str(path)) as caught:
        network(path)
    assert ('convolutional stem' in str(caught.value)) == (part is not None)
    with refuses('file', str(path)):
        load(swin(2, 2), path)


def test_leftovers_are_left_out_and_named(tmp_path: Path) -> None:
    more = {'mask_token': torch.ones(1, 1, 48), 'decoder_embed.weight': torch.ones(5, 48)}
    plain = TimmViT(**VIT).state_dict()
    found = network(write(tmp_path / 'x.pth', plain | more))
    assert found.state.keys() == {f'net.{key}' for key in plain}
    assert '2 tensors' in found.notes[0]
    assert 'net.mask_token, net.decoder_embed.weight' in found.notes[0]
    scaled = plain | {'blocks.0.ls1.gamma': torch.ones(48)}  # part of another network: kept
    assert 'net.blocks.0.ls1.gamma' in network(write(tmp_path / 'y.pth', scaled)).state


def test_counters_that_old_files_lack_are_zero(tmp_path: Path) -> None:
    state = ResNet(**RESNET).net.state_dict()
    for key in state:
        if key.endswith('num_batches_tracked'):
            state[key] = torch.tensor(7)
    old = {key: value for key, value in state.items() if 'num_batches' not in key}
    found = network(write(tmp_path / 'x.pth', old)).state
    assert found.keys() == {f'net.{key}' for key in state}
    assert all(int(v) == 0 for k, v in found.items() if 'num_batches' in k)
    whole = network(write(tmp_path / 'y.pth', state)).state
    assert all(int(v) == 7 for k, v in whole.items() if 'num_batches' in k)
