"""Infer a backbone's family and sizes from the names and shapes of its tensors."""

import math
import re
from collections import Counter
from typing import Any

from torch import Tensor

from ..core import UserError
from .matching import BESIDE, COMPUTED, MAP_NORMS, inner_name, of_another_network
from .resize import window_size

State = dict[str, Tensor]  # tensors of any shape by our names, without 'backbone.'
# depth of a ResNet -> (whether its blocks have a bottleneck, blocks of each stage)
RESNETS: dict[int, tuple[bool, tuple[int, ...]]] = {
    18: (False, (2, 2, 2, 2)),
    34: (False, (3, 4, 6, 3)),
    50: (True, (3, 4, 6, 3)),
    101: (True, (3, 4, 23, 3)),
    152: (True, (3, 8, 36, 3)),
}
# limits on sizes that are read from a file: tables of a window have its fourth power of entries
STAGES = 8
ANY_SIZE = 1 << 20
LARGEST = {'windows': 64, 'patch_size': 64, 'mlp_ratio': 64}
# how DINOv2 with registers resizes positions; without, DINO and iBOT have an offset of 0.1
ANTIALIASED = dict(interpolate_offset=0.0, interpolate_antialias=True)
# what networks compute and official files have all the same
STORED = ('num_batches_tracked', 'rope.periods', 'qkv.bias_mask')
# a name that each family has and no other
SIGNS = {
    'swin': r'net\.layers\.0\.blocks\.0\.attn\.relative_position_bias_table',
    'vit': r'net\.blocks\.0\.attn\.qkv\.weight',
    'resnet': r'net\.layer1\.0\.conv1\.weight',
    'cvt': r'net\.stage0\.0\.proj\.weight',
    'vil': r'net\.layer1\.0\.proj\.weight',
}
# the names of a plain network, whose config every library has
PLAIN = {
    'swin': r'(absolute_pos_embed$|net\.(patch_embed\.(proj|norm)\.|norm\.|layers\.\d+\.'
    r'(downsample\.(norm|reduction)\.|blocks\.\d+\.(norm[12]|mlp\.fc[12]'
    r'|attn\.(qkv|proj|relative_position_bias_table)))))',
    'vit': r'net\.(cls_token|reg_token|pos_embed|rope\.periods|norm\.|patch_embed\.proj\.'
    r'|blocks\.\d+\.((norm[12]|attn\.(qkv|proj)|mlp\.fc[12])\.(weight|bias)$'
    r'|ls[12]\.gamma|attn\.qkv\.bias_mask))',
    'resnet': r'net\.(conv1|bn1|layer\d\.\d+\.((conv|bn)[123]|downsample\.[01]))\.',
}


def family(state: State) -> str:
    """Return 'swin', 'vit', 'resnet', 'cvt', 'vil' or 'other' for a backbone's tensors.

    Only names count; tensors may have any shape (*).
    """
    for name, sign in SIGNS.items():
        if any(re.match(sign, key) for key in state):
            return name
    return 'other'


def sizes(state: State) -> dict[str, Any]:
    """Return the sizes of a network by the argument names of our backbones.

    They are read from shapes, such as (width, 3, patch_size, patch_size) of a patch embedding.
    ViT's heads are not in its tensors; ``windows`` of Swin has one entry per stage. Empty for
    other families. Raises UserError when tensors of the network are missing or have no such shape.
    """
    kind = family(state)
    measure = {'swin': _swin, 'vit': _vit, 'resnet': _resnet}.get(kind)
    try:
        found = measure(state) if measure else {}
        _check_sizes(found)
        return found
    except KeyError as error:
        name = str(error.args[0])
        raise UserError(
            f'the file holds a part of a {kind} only, {name} is missing: give the whole network',
            key=name,
            value=None,
        ) from None
    except (IndexError, TypeError, ValueError, ZeroDivisionError) as error:
        raise UserError(
            f'state: its tensors have shapes that no {kind} has ({error}); give the file as it '
            'was published',
            key='state',
            value=kind,
        ) from None


def _check_sizes(found: dict[str, Any]) -> None:
    """Raise ValueError for sizes that no network has: zero, or beyond `LARGEST`."""
    for key, value in found.items():
        several = value if isinstance(value, tuple) else (value,)
        numbers = [size for size in several if type(size) is int]
        # a ResNet may lack its last stages
        smallest = 0 if key in ('layers', 'registers') else 1
        if any(not smallest <= size <= LARGEST.get(key, ANY_SIZE) for size in numbers):
            raise ValueError(f'{key}={value}')
        if len(several) > STAGES:
            raise ValueError(f'{len(several)} stages')


def additions(state: State) -> list[str]:
    """Return the tensors (any shapes) that a ViT, Swin or ResNet has more than a plain one."""
    known, more = _by_plain(state)
    return of_another_network(more, known)


def leftovers(state: State) -> list[str]:
    """Return the tensors (any shapes) that a file holds beside its network.

    They are heads, decoders and mask tokens, and whatever is no part of a plain ViT, Swin or
    ResNet without making it another one: `load` reports the same ones as unexpected. What a
    network computes is among them, but for what official files have (`STORED`).
    """
    known, more = _by_plain(state)
    beside = set(more).difference(of_another_network(more, known))
    if not known:
        beside = {key for key in state if BESIDE.match(inner_name(key))}
    beside = {key for key in beside if key != 'mask_token' and not MAP_NORMS.match(key)}
    computed = [key for key in state if COMPUTED.search(key)]
    beside.update(key for key in computed if not key.endswith(STORED))
    return [key for key in state if key in beside]


def _by_plain(state: State) -> tuple[list[str], list[str]]:
    """Return (names of a plain network of the family, all others); none where none is known."""
    plain = PLAIN.get(family(state))
    if plain is None:
        return [], []
    known = [key for key in state if re.match(plain, key)]
    return known, [key for key in state if not re.match(plain, key)]


def differences(given: State, wanted: State) -> list[str]:
    """Return how the network of a file differs from a model's, one setting an entry.

    Both hold a backbone's tensors (any shapes). Empty where tensors do not tell.
    """
    kinds = family(given), family(wanted)
    if kinds[0] != kinds[1]:
        return [f'a {kinds[0]} network, not a {kinds[1]} one']
    try:
        found, ours = sizes(given), sizes(wanted)
    except UserError:  # a part of a network
        return []
    both = [key for key in found if key in ours]
    return [f'{key}={found[key]} for {ours[key]}' for key in both if found[key] != ours[key]]


def _numbers(state: State, pattern: str) -> set[tuple[str, ...]]:
    """Return the different numbers that occur at the groups of a pattern."""
    return {match.groups() for key in state if (match := re.match(pattern, key))}


def _swin(state: State) -> dict[str, Any]:
    blocks = _numbers(state, r'net\.layers\.(\d+)\.blocks\.(\d+)\.')
    stages = range(len({stage for stage, _ in blocks}))
    depths = Counter(stage for stage, _ in blocks)
    tables = [state[f'net.layers.{i}.blocks.0.attn.relative_position_bias_table'] for i in stages]
    patch = state.get('net.patch_embed.proj.weight')
    if patch is None and any(key.startswith('net.patch_embed.proj.') for key in state):
        raise UserError(
            'its Swin has a convolutional stem, and no Swin here has one: give the file of a Swin '
            'that cuts images into patches',
            key='net.patch_embed.proj.weight',
            value=None,
        )
    if patch is None:
        raise KeyError('net.patch_embed.proj.weight')
    return dict(
        width=patch.shape[0],
        depths=tuple(depths[str(i)] for i in stages),
        heads=tuple(table.shape[1] for table in tables),
        windows=tuple(window_size(table) for table in tables),
        patch_size=patch.shape[-1],
        mlp_ratio=len(state['net.layers.0.blocks.0.mlp.fc1.weight']) // patch.shape[0],
    )


def _vit(state: State) -> dict[str, Any]:
    width = state['net.cls_token'].shape[-1]
    proj = state.get('net.patch_embed.proj.weight')
    patch = 16 if proj is None else proj.shape[-1]
    table = state.get('net.pos_embed')
    if table is None and 'net.rope.periods' not in state and 'net.reg_token' not in state:
        raise KeyError('net.pos_embed')
    registers = state.get('net.reg_token')
    first, hidden = (state[f'net.blocks.0.mlp.fc{i}.weight'] for i in (1, 2))
    gates = len(first) // hidden.shape[1]  # 2 of a SwiGLU
    found = dict(
        width=width,
        depth=len(_numbers(state, r'net\.blocks\.(\d+)\.')),
        patch_size=patch,
        stem='conv' if proj is None else 'patch',
        mlp_ratio=_whole(hidden.shape[1] / width),
        mlp='swiglu' if gates == 2 else 'gelu',
        registers=0 if registers is None else registers.shape[1],
        layer_scale='net.blocks.0.ls1.gamma' in state,
        positions='rotary' if table is None else 'table',
        qkv_bias='net.blocks.0.attn.qkv.bias' in state,
        key_bias='net.blocks.0.attn.qkv.bias_mask' not in state,
    )
    if table is not None:
        found['img_size'] = math.isqrt(table.shape[1]) * patch  # with a class token or without
    return found


def _whole(ratio: float) -> float:
    """Return a ratio as a whole number where it is one."""
    return int(ratio) if ratio == int(ratio) else ratio


def vit_settings(state: State, num_heads: int | None, norm_eps: float | None) -> dict[str, Any]:
    """Return the settings of our VisionTransformer for the tensors (any shapes) of a ViT.

    Heads and epsilon are not in them. Plain settings are left out.
    """
    size = sizes(state)
    settings = dict(
        type='VisionTransformer',
        arch=(size['width'], size['depth'], num_heads),
        patch_size=size['patch_size'],
    )
    if 'img_size' in size:
        settings['img_size'] = size['img_size']
    else:
        settings['positions'] = 'rotary'
    plain = dict(stem='patch', mlp_ratio=4, mlp='gelu', registers=0, qkv_bias=True, key_bias=True)
    settings |= {key: size[key] for key, value in plain.items() if size[key] != value}
    if size['layer_scale']:
        settings['layer_scale'] = 1e-5
    if norm_eps not in (None, 1e-6):
        settings['norm_eps'] = norm_eps
    if size['registers'] and 'img_size' in size:
        settings |= ANTIALIASED
    return settings


def _resnet(state: State) -> dict[str, Any]:
    layers = tuple(len(_numbers(state, rf'net\.layer{i}\.(\d+)\.')) for i in range(1, 5))
    found = ('net.layer1.0.conv3.weight' in state, layers)
    return dict(
        depth=next((depth for depth, known in RESNETS.items() if known == found), None),
        layers=layers,
        width=len(state['net.conv1.weight']),
        small_stem=state['net.conv1.weight'].shape[-1] == 3,
    )
