"""DINOv2's and DINOv3's vision transformers: timm's numbers, in double precision."""

from typing import Any

import pytest
import timm
import torch
from mmengine.config import Config
from torch import Tensor, nn
from torch.nn import functional as F
from torch.testing import assert_close

from mmssl.checkpoint.layouts import LAYOUTS
from mmssl.config.check import check
from mmssl.models.backbones import TimmBackbone, VisionTransformer, backbone_settings
from mmssl.models.backbones.vit import positions_side, resize_positions

from ..helpers.refusals import refuses

SMALL = dict(embed_dim=24, depth=3, num_heads=3)
DINOV2 = ('vit_small_patch14_dinov2', 'vit_small_patch14_reg4_dinov2')
GIANT = ('vit_giant_patch14_dinov2', 'vit_giant_patch14_reg4_dinov2')
DINOV3 = (
    'vit_small_patch16_dinov3',
    'vit_small_patch16_dinov3_qkvb',
    'vit_small_plus_patch16_dinov3',
    'vit_small_plus_patch16_dinov3_qkvb',
)


def of_timm(name: str, **more: Any) -> nn.Module:
    """Return timm's network, small, with every parameter random and its class token pooled."""
    args = dict(SMALL, num_classes=0, global_pool='token', dynamic_img_size=True)
    net = timm.create_model(name, **(args | dict(img_size=112) | more)).eval()
    generator = torch.Generator().manual_seed(3)
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.2, generator=generator)
    return net


def ours_of(name: str, net: nn.Module) -> VisionTransformer:
    """Return our network with timm's tensors, read as those of a file."""
    from mmssl.checkpoint.timm_networks import vit_settings

    settings = vit_settings(net)
    assert settings is not None
    settings.pop('type')
    backbone = VisionTransformer(**settings, img_size=112).eval()
    state, dropped = LAYOUTS['timm_dinov3' if 'dinov3' in name else 'timm'].translate(
        net.state_dict()
    )
    assert not dropped
    given = {key.removeprefix('backbone.'): value for key, value in state.items()}
    given |= backbone.adapt_positions(given)[0]
    left = backbone.load_state_dict(given, strict=False)
    assert left.unexpected_keys == []
    computed = ('rope.periods', 'bias_mask')
    assert [key for key in left.missing_keys if not key.endswith(computed)] == []
    return backbone


@pytest.mark.parametrize('name', [*DINOV2, *GIANT, *DINOV3])
def test_features_are_those_of_timm(name):
    net = of_timm(name)
    backbone = ours_of(name, net)
    net.double()
    backbone.double()
    cell = backbone.patch_size
    images = torch.randn(2, 3, 112, 112, generator=torch.Generator().manual_seed(1)).double()
    if cell == 14:
        ours, theirs = backbone.encode(images), net.forward_features(images)
        assert backbone.adapt_positions({}) == ({}, [])
    else:  # rotary positions fit any grid
        images = images[..., :80, :96]
        ours, theirs = backbone.encode(images), net.forward_features(images)
    first = 5 if backbone.net.reg_token is not None else 1
    assert_close(ours.pooled, net(images), rtol=0, atol=1e-10)
    assert_close(ours.tokens, theirs[:, first:], rtol=0, atol=1e-10)
    for blocks in (1, 3):
        found = backbone.last_blocks_features(images, blocks, 'cls')
        parts = net.forward_intermediates(
            images, indices=blocks, norm=True, return_prefix_tokens=True, intermediates_only=True
        )
        wanted = torch.cat([prefix[:, 0] for _, prefix in parts], 1)
        assert_close(found, wanted, rtol=0, atol=1e-10)


def test_names_of_timm_become_ours():
    for name in (*DINOV2, *DINOV3, 'vit_giant_patch14_reg4_dinov2', 'vit_7b_patch16_dinov3'):
        settings = backbone_settings(name, 98)
        assert settings['type'] == 'VisionTransformer'
        with torch.device('meta'):
            net = timm.create_model(name, num_classes=0)
            ours = VisionTransformer(**{k: v for k, v in settings.items() if k != 'type'})
        sizes = sum(p.numel() for p in net.parameters())
        own = sum(p.numel() for p in ours.parameters())
        biases = len(net.blocks) * net.embed_dim if name.endswith('_qkvb') else 0
        if '_dinov2' in name:  # other tables of positions
            sizes -= net.pos_embed.numel()
            own -= ours.net.pos_embed.numel()
        assert own == sizes + biases, name
    assert backbone_settings('vit_small_patch14_reg4_dinov2', 98)['interpolate_antialias'] is True
    assert 'interpolate_antialias' not in backbone_settings('vit_small_patch14_dinov2', 98)
    assert backbone_settings('eva02_small_patch14_224', 98)['type'] == 'TimmBackbone'
    assert backbone_settings('timm/vit_small_patch16_dinov3', 96)['type'] == 'TimmBackbone'


def test_masked_patches_become_the_mask_token():
    """By hooks on the first block: rotary positions and registers leave the tokens as they are."""
    net = VisionTransformer((16, 2, 2), patch_size=8, positions='rotary', registers=2,
                            mask_token=True)  # fmt: skip
    nn.init.normal_(net.mask_token)
    seen: list[Tensor] = []
    net.net.blocks[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    images = torch.randn(2, 3, 24, 32)
    mask = torch.rand(2, 3, 4, generator=torch.Generator().manual_seed(0)) > 0.5
    net.encode(images, mask)
    patches = net.net.patch_embed(images)
    (tokens,) = seen
    assert torch.equal(tokens[:, 1:3], net.net.reg_token.expand(2, -1, -1))
    for i in range(2):
        for j, masked in enumerate(mask[i].flatten()):
            wanted = net.mask_token[0] if masked else patches[i, j]
            assert torch.equal(tokens[i, 3 + j], wanted)


def test_biases_of_keys_are_masked():
    net = VisionTransformer((16, 1, 2), patch_size=8, positions='rotary', key_bias=False)
    layer = net.net.blocks[0].attn.qkv
    nn.init.normal_(layer.bias)
    x = torch.randn(3, 16)
    wanted = F.linear(x, layer.weight, layer.bias)
    wanted[:, 16:32] -= layer.bias[16:32]
    assert_close(layer(x), wanted)
    layer(x).sum().backward()
    assert layer.bias.grad[16:32].abs().sum() == 0
    assert layer.bias.grad[:16].abs().min() > 0


@pytest.mark.parametrize(('side', 'new'), [(37, 16), (16, 37), (7, 5)])
def test_positions_are_resized_as_dinov2_does(side, new):
    """`interpolate` itself: a scale with an offset, or antialiasing."""
    table = torch.randn(1, 1 + side * side, 6).double()
    grid = table[:, 1:].view(1, side, side, 6).permute(0, 3, 1, 2)
    scale = (new + 0.1) / side
    offset = F.interpolate(grid, scale_factor=(scale, scale), mode='bicubic')
    found = resize_positions(table, new, new, 0.1)
    assert_close(found[:, 1:], offset.permute(0, 2, 3, 1).flatten(1, 2), rtol=0, atol=1e-9)
    smooth = F.interpolate(grid, size=(new, new), mode='bicubic', antialias=True)
    found = resize_positions(table, new, new, 0, True)
    assert_close(found[:, 1:], smooth.permute(0, 2, 3, 1).flatten(1, 2), rtol=0, atol=1e-9)
    assert torch.equal(found[:, :1], table[:, :1])


def test_tables_of_timm_have_no_place_for_the_class_token():
    net = VisionTransformer((16, 1, 2), img_size=32, patch_size=8, registers=1)
    table = torch.randn(1, 16, 16)
    (given,), changes = net.adapt_positions({'net.pos_embed': table})[0].values(), []
    assert torch.equal(given, torch.cat([torch.zeros(1, 1, 16), table], 1))
    assert net.adapt_positions({'net.pos_embed': table})[1] == changes
    assert positions_side(17) == (4, 1)
    with refuses('pos_embed', 19):
        net.adapt_positions({'net.pos_embed': torch.zeros(1, 19, 16)})


def test_fixed_positions_stay_the_networks_own():
    net = VisionTransformer((16, 1, 2), img_size=32, patch_size=8, positions='sincos')
    given, changes = net.adapt_positions({'net.pos_embed': torch.randn(1, 26, 16)})
    assert torch.equal(given['net.pos_embed'], net.net.pos_embed)
    assert changes == ['net.pos_embed 5x5 -> 4x4']


def test_layers_hold_registers_and_freeze_them():
    net = VisionTransformer((16, 3, 2), patch_size=8, registers=2, frozen_stages=0)
    stem, *blocks = net.layer_groups()
    assert any(part is net.net.reg_token for part in stem)
    assert len(blocks) == 3
    assert not net.net.reg_token.requires_grad
    rotary = VisionTransformer((16, 3, 2), patch_size=8, positions='rotary')
    assert None not in rotary.layer_groups()[0]


def test_a_new_swiglu_is_initialised_as_any_layer():
    """timm's own start leaves half of its channels near zero."""
    net = VisionTransformer((64, 1, 2), patch_size=8, mlp='swiglu', mlp_ratio=2.66667).net
    first = net.blocks[0].mlp.fc1
    assert first.weight.shape == (2 * 171, 64)
    for half in first.weight.chunk(2):
        assert half.std().item() == pytest.approx(0.02, rel=0.05)
    assert first.bias.abs().max() == 0


@pytest.mark.parametrize(
    ('key', 'value', 'more'),
    [
        ('mlp', 'relu', {}),
        ('positions', 'alibi', {}),
        ('num_heads', 8, dict(positions='rotary', arch=(16, 1, 8))),
    ],
)
def test_refusals(key, value, more):
    with refuses(key, value):
        VisionTransformer(**({} if more else {key: value}), **more)


@pytest.mark.parametrize(
    ('name', 'args'),
    [
        ('vit_small_patch16_dinov3', {}),
        ('vit_small_patch16_dinov3_qkvb', {}),
        ('eva02_tiny_patch14_224', {}),
        ('vit_pe_core_tiny_patch16_384', dict(attn_pool_num_heads=3)),
    ],
)
def test_attention_of_timms_eva(name, args):
    """Its weights, applied to v, give the layer's output."""
    settings = dict(SMALL, embed_dim=24, dynamic_img_size=True, img_size=112, **args)
    net = TimmBackbone(name, settings).double().eval()
    for parameter_name, value in net.named_parameters():
        if 'bias' in parameter_name:
            nn.init.normal_(value)
    layer = net.net.blocks[1].attn
    seen: list[tuple[Tensor, Tensor]] = []
    layer.register_forward_hook(lambda _, inputs, y: seen.append((inputs[0], y)))
    images = torch.randn(2, 3, 112, 112).double()
    weights = net.attention(images, 1)
    x, y = seen[0]
    assert_close(weights.sum(-1), torch.ones(weights.shape[:3]).double(), rtol=0, atol=1e-12)
    if layer.qkv is None:
        v = layer.v_proj(x)
    else:
        bias = getattr(layer, 'v_bias', None)
        bias = 0 if bias is None else bias
        v = layer.qkv(x)[..., 48:] + bias
    v = v.unflatten(2, (3, 8)).transpose(1, 2)
    found = layer.proj(layer.norm((weights @ v).transpose(1, 2).flatten(2)))
    assert_close(found, y, rtol=0, atol=1e-10)


def test_attention_of_rotary_positions():
    net = VisionTransformer((24, 2, 3), patch_size=8, positions='rotary', registers=2).double()
    layer = net.net.blocks[1].attn
    nn.init.normal_(layer.qkv.bias)
    seen: list[tuple[Tensor, Tensor]] = []
    layer.register_forward_hook(lambda _, inputs, y: seen.append((inputs[0], y)))
    weights = net.attention(torch.randn(2, 3, 32, 40).double(), 1)
    x, y = seen[0]
    assert weights.shape == (2, 3, 23, 23)
    v = layer.qkv(x)[..., 48:].unflatten(2, (3, 8)).transpose(1, 2)
    assert_close(layer.proj((weights @ v).transpose(1, 2).flatten(2)), y, rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    ('key', 'value'), [('registers', -1), ('layer_scale', 0.0), ('layer_scale', 'yes')]
)
def test_configs_check_kinds_and_ranges(key, value):
    settings = dict(type='VisionTransformer', **{key: value})
    with refuses(f'model.backbone.{key}', value):
        check(Config(dict(model=dict(type='Encoder', backbone=settings))), 'x.py')
