"""Layouts of DINOv2's and DINOv3's vision transformers: the official ones, and timm's of DINOv3.

Gate and value of a SwiGLU are one layer here, ``mlp.fc1``, as in DINOv2 (``w12``) and in timm's
DINOv2; DINOv3 stores two (``w1`` and ``w2``, timm ``fc1_g`` and ``fc1_x``).
"""

import re
from collections.abc import Collection

import torch

from .layout import ROOTS, UNCHANGED, WRAPPERS, Layout, State, one_network

# of a SwiGLU: (gate, value, output)
DINOV3_MLP = ('w1', 'w2', 'w3')
TIMM_MLP = ('fc1_g', 'fc1_x', 'fc2')


def is_swiglu(state: State, mlp: str) -> bool:
    """Whether an MLP, ``blocks.0.mlp.``, has gate and value in its first layer (2 H, C)."""
    first, second = state[f'{mlp}fc1.weight'], state[f'{mlp}fc2.weight']
    return len(first) == 2 * second.shape[1]


def _mlps(state: State, layer: str) -> list[str]:
    """Return what stands before ``layer`` in the names of MLPs."""
    found = (re.fullmatch(rf'(.*\.mlp\.){layer}\.weight', key) for key in state)
    return [match[1] for match in found if match]


def _join_gates(state: State, names: tuple[str, str, str]) -> State:
    """Return tensors (any shapes) with each SwiGLU under our names."""
    gate, value, output = names
    joined = dict(state)
    for mlp in _mlps(state, gate):
        for kind in ('weight', 'bias'):
            parts = [joined.pop(f'{mlp}{name}.{kind}', None) for name in (gate, value)]
            if parts[0] is not None and parts[1] is not None:
                joined[f'{mlp}fc1.{kind}'] = torch.cat([parts[0], parts[1]])
            last = joined.pop(f'{mlp}{output}.{kind}', None)
            if last is not None:
                joined[f'{mlp}fc2.{kind}'] = last
    return joined


def _part_gates(state: State, names: tuple[str, str, str]) -> State:
    """Undo `_join_gates`."""
    gate, value, output = names
    parted = dict(state)
    for mlp in _mlps(state, 'fc1'):
        if not is_swiglu(state, mlp):
            continue
        for kind in ('weight', 'bias'):
            halves = parted.pop(f'{mlp}fc1.{kind}').chunk(2)
            parted[f'{mlp}{gate}.{kind}'], parted[f'{mlp}{value}.{kind}'] = halves
            parted[f'{mlp}{output}.{kind}'] = parted.pop(f'{mlp}fc2.{kind}')
    return parted


def without_class_position(state: State) -> State:
    """Return a ViT with registers as timm has it: the class token holds its position.

    pos_embed (1, 1 + N, C) becomes (1, N, C); other networks stay.
    """
    table = state.get('pos_embed')
    if table is None or 'reg_token' not in state or _is_square(table.shape[1]):
        return state
    token = state['cls_token'] + table[:, :1]
    return {**state, 'cls_token': token, 'pos_embed': table[:, 1:]}


def plain_vit(state: State) -> State:
    """Return tensors (any shapes) as timm's VisionTransformer has them: no masks of biases."""
    plain = dict(without_class_position(state))
    for key in state:
        attn, found, _ = key.rpartition('bias_mask')
        if found:
            plain[f'{attn}bias'] = plain[f'{attn}bias'] * plain.pop(key)
    return plain


def with_class_position(state: State) -> State:
    """Return a ViT whose positions (1, N, C) have the class token's, of zeros: (1, 1 + N, C)."""
    table = state.get('pos_embed')
    if table is None or not _is_square(table.shape[1]):
        return state
    return {**state, 'pos_embed': torch.cat([torch.zeros_like(table[:, :1]), table], 1)}


def _is_square(count: int) -> bool:
    found: bool = round(count**0.5) ** 2 == count
    return found


def _read_dinov2(state: State, target: Collection[str]) -> State:
    return {re.sub(r'\.mlp\.w(12|3)\.', _fc, key): value for key, value in state.items()}


def _fc(name: re.Match[str]) -> str:
    return '.mlp.fc1.' if name[1] == '12' else '.mlp.fc2.'


def _write_dinov2(state: State) -> State:
    written = dict(with_class_position(state))
    for mlp in _mlps(state, 'fc1'):
        if is_swiglu(state, mlp):
            for ours, theirs in (('fc1', 'w12'), ('fc2', 'w3')):
                for kind in ('weight', 'bias'):
                    written[f'{mlp}{theirs}.{kind}'] = written.pop(f'{mlp}{ours}.{kind}')
    return written


DINOV2 = Layout(
    'dinov2',
    roots=ROOTS,
    sign=r'blocks\.0\.ls1\.gamma$',
    also=r'(register_tokens|mask_token|blocks\.0\.mlp\.w12\.weight)$',
    unless=r'(storage_tokens|rope_embed\.periods)$',
    special_of='timm',
    prefix=WRAPPERS,
    pairs=one_network(
        ('mask_token', 'backbone.mask_token'),
        ('register_tokens', 'backbone.net.reg_token'),
        *UNCHANGED,
    ),
    merge=_read_dinov2,
    split=_write_dinov2,
)


def _is_timms(target: Collection[str]) -> bool:
    """Whether a model of these names has timm's own network of DINOv3."""
    return any(name.endswith('.gamma_1') for name in target)


def _read_dinov3(state: State, target: Collection[str]) -> State:
    joined = _join_gates(state, DINOV3_MLP)
    if not _is_timms(target):
        return joined
    timms = _write_timm_dinov3(joined)
    return {re.sub(r'\.ls(\d)\.gamma$', r'.gamma_\1', key): v for key, v in timms.items()}


def _write_dinov3(state: State) -> State:
    return _part_gates(state, DINOV3_MLP)


DINOV3 = Layout(
    'dinov3',
    roots=ROOTS,
    sign=r'blocks\.0\.',
    also=r'(storage_tokens|rope_embed\.periods)$',
    special_of='timm',
    prefix=WRAPPERS,
    pairs=one_network(
        ('mask_token', 'backbone.mask_token'),
        ('storage_tokens', 'backbone.net.reg_token'),
        ('rope_embed.periods', 'backbone.net.rope.periods'),
        ('local_cls_norm.{rest}', None),  # of local crops in pretraining
        *UNCHANGED,
    ),
    merge=_read_dinov3,
    split=_write_dinov3,
)


def _read_timm_dinov3(state: State, target: Collection[str]) -> State:
    """Join gates, and biases of queries and values; not for timm's own network."""
    if _is_timms(target):
        return state
    joined = _join_gates(state, TIMM_MLP)
    for key in state:
        attn, found, _ = key.rpartition('q_bias')
        if not found:
            continue
        query, value = joined.pop(key), joined.pop(f'{attn}v_bias')
        ones = torch.ones_like(query)
        joined[f'{attn}qkv.bias'] = torch.cat([query, torch.zeros_like(query), value])
        joined[f'{attn}qkv.bias_mask'] = torch.cat([ones, torch.zeros_like(ones), ones])
    return joined


def _write_timm_dinov3(state: State) -> State:
    parted = _part_gates(state, TIMM_MLP)
    for key in state:
        attn, found, _ = key.rpartition('qkv.bias_mask')
        if found:
            bias = parted.pop(f'{attn}qkv.bias') * parted.pop(key)
            parted[f'{attn}q_bias'], _, parted[f'{attn}v_bias'] = bias.chunk(3)
    return parted


TIMM_DINOV3 = Layout(
    'timm_dinov3',
    roots=ROOTS,
    sign=r'blocks\.0\.gamma_1$',
    also=r'reg_token$',
    unless=r'pos_embed$',
    special_of='timm',
    prefix=WRAPPERS,
    pairs=one_network(
        ('', 'backbone.mask_token'),
        ('', 'backbone.net.rope.periods'),
        ('blocks.{i}.gamma_1', 'backbone.net.blocks.{i}.ls1.gamma'),
        ('blocks.{i}.gamma_2', 'backbone.net.blocks.{i}.ls2.gamma'),
        *UNCHANGED,
    ),
    merge=_read_timm_dinov3,
    split=_write_timm_dinov3,
)
