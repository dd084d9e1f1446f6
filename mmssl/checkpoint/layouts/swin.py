"""Swin files: names of Microsoft's and mmdet's layouts, and entries that are not read.

Index tables and attention masks are computed, so a file may have or lack them.
"""

import re
from typing import Any

from .layout import ROOTS, UNCHANGED, WRAPPERS, Layout, NameLines, State, one_network
from .name_template import NamePair
from .vit import CLASSIFIER, RELATIONS, VIT_HEADS

MERGES_FIRST = r'layers\.[1-9]\d*\.downsample\.'  # timm merges patches before a stage
MERGES_LAST = r'layers\.0\.downsample\.'  # microsoft after it

# a stage of the microsoft layout ends with its patch merging, one of timm begins with it
SWIN: NameLines = (
    ('layers.{i}.blocks.{j}.attn.relative_position_index', None),
    ('layers.{i}.blocks.{j}.attn_mask', None),
    ('layers.{i}.downsample.{rest}', 'backbone.net.layers.{i+1}.downsample.{rest}'),
    ('absolute_pos_embed', 'backbone.absolute_pos_embed'),
    *UNCHANGED,
)

MICROSOFT = Layout(
    'swin',
    roots=ROOTS,
    sign=MERGES_LAST,
    prefix=WRAPPERS,
    pairs=one_network(*VIT_HEADS, *RELATIONS, *SWIN),
)


def name_last_norm(content: dict[str, Any], state: State) -> State:
    """Rename ``norm3`` of a classifier's file to ``norm``: mmcls names the last norm by its map.

    Tensors keep their shape (*). A detector's file has norms of other maps too.
    """
    inner = {key: re.sub(f'^({WRAPPERS})', '', key) for key in state}
    stages = {match[1] for name in inner.values() if (match := re.match(r'stages\.(\d+)\.', name))}
    norms = {match[1] for name in inner.values() if (match := re.match(r'norm(\d*)\.', name))}
    if not stages or norms != {max(stages, key=int)}:
        return state
    last = f'norm{norms.pop()}.'
    return {
        key.replace(last, 'norm.') if inner[key].startswith(last) else key: value
        for key, value in state.items()
    }


_BLOCK = 'backbone.net.layers.{i}.blocks.{j}'
_STAGE = 'stages.{i}.blocks.{j}'
MM_SWIN = Layout(
    'mmdet',
    roots=ROOTS,
    sign=r'stages\.\d+\.blocks\.\d+\.attn\.w_msa\.',
    prefix=WRAPPERS,
    pairs=(
        *one_network(
            ('patch_embed.projection.{rest}', 'backbone.net.patch_embed.proj.{rest}'),
            (f'{_STAGE}.attn.w_msa.relative_position_index', None),
            (f'{_STAGE}.attn_mask', None),
            (f'{_STAGE}.attn.attn_mask', None),
            (f'{_STAGE}.attn.w_msa.{{rest}}', f'{_BLOCK}.attn.{{rest}}'),
            (f'{_STAGE}.ffn.layers.0.0.{{rest}}', f'{_BLOCK}.mlp.fc1.{{rest}}'),
            (f'{_STAGE}.ffn.layers.1.{{rest}}', f'{_BLOCK}.mlp.fc2.{{rest}}'),
        ),
        NamePair(
            'stages.{i}.downsample.norm.{rest}',
            'backbone.net.layers.{i+1}.downsample.norm.{rest}',
            'merging',
        ),
        NamePair(
            'stages.{i}.downsample.reduction.{rest}',
            'backbone.net.layers.{i+1}.downsample.reduction.{rest}',
            'merging',
        ),
        *one_network((f'{_STAGE}.{{rest}}', f'{_BLOCK}.{{rest}}'), *CLASSIFIER),
        # norms of single maps are not the network's last one, which has no place in a detector
        NamePair('norm{i}.{rest}', 'backbone.norm{i}.{rest}'),
        NamePair('', 'backbone.net.norm.{rest}'),
        *one_network(*UNCHANGED),
    ),
    prepare=name_last_norm,
)
