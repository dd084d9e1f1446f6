"""Layouts of single networks: torchvision, timm, mmpretrain and mmseg; Swin's: `swin`.

The backbones that iBOT, SERE and DINO release have timm's names; the linear files of MoCo are
torchvision's or timm's, those of MoBY microsoft's or timm's.
"""

from typing import Any

from .dinov2 import plain_vit
from .layout import (
    ROOTS,
    UNCHANGED,
    WRAPPERS,
    Layout,
    State,
    one_network,
    prefixed,
    strip_wrappers,
)
from .swin import MERGES_FIRST, MERGES_LAST
from .toolboxes import SOLO_LEARN
from .vit import CLASSIFIER, MM_VIT, RELATIONS, VIT_HEADS

# what Lightning modules call their network
MODULES = r'(encoder\.|model\.|network\.)+'
TORCHVISION = Layout(
    'torchvision',
    roots=ROOTS,
    sign=r'layer1\.0\.conv1\.weight',
    unless=r'(projection_head|prototypes)\.',
    prefix=MODULES,
    pairs=one_network(('fc.{rest}', 'head.fc.{rest}'), *UNCHANGED),
)


TIMM = Layout(
    'timm',
    roots=ROOTS,
    sign=rf'(blocks\.0\.|{MERGES_FIRST})',
    unless=rf'({MERGES_LAST}|{SOLO_LEARN.sign})',
    prefix=rf'({WRAPPERS}|{MODULES})',
    pairs=one_network(*VIT_HEADS, *RELATIONS, *UNCHANGED),
    split=plain_vit,
)


def _within_backbone(content: dict[str, Any], state: State) -> State:
    """Return the tensors (any shapes) of a backbone alone by their names in a model.

    All of them: by what a network has beyond, another one is known.
    """
    state = {strip_wrappers(key): value for key, value in state.items()}
    if any(key.startswith('backbone.') for key in state):
        return state
    heads = ('head.', 'neck.')
    return {key if key.startswith(heads) else f'backbone.{key}': v for key, v in state.items()}


MMPRETRAIN = Layout(
    'mmpretrain',
    roots=ROOTS,
    sign=r'(backbone\.(layer1\.0\.conv1|conv1)\.weight|(backbone\.)?layers\.0\.attn\.qkv\.weight)',
    unless=rf'((neck\.projection_neck|encoder_[qk]|momentum_encoder)\.|{SOLO_LEARN.sign})',
    pairs=one_network(
        ('head.layers.head.{rest}', 'head.fc.{rest}'),
        *CLASSIFIER,
        *prefixed('backbone.', MM_VIT + UNCHANGED),
    ),
    prepare=_within_backbone,
)

MMSEG = Layout(
    'mmseg',
    roots=ROOTS,
    sign=r'layers\.0\.attn\.attn\.in_proj_weight',
    prefix=WRAPPERS,
    pairs=one_network(
        ('layers.{i}.attn.attn.in_proj_weight', 'backbone.net.blocks.{i}.attn.qkv.weight'),
        ('layers.{i}.attn.attn.in_proj_bias', 'backbone.net.blocks.{i}.attn.qkv.bias'),
        ('layers.{i}.attn.attn.out_proj.{rest}', 'backbone.net.blocks.{i}.attn.proj.{rest}'),
        *MM_VIT,
        *UNCHANGED,  # by what a network has beyond, another one is known
    ),
)
