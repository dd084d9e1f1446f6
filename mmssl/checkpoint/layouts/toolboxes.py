"""Layouts of other toolboxes: VISSL, lightly, solo-learn, and Hugging Face's ViT."""

import re
from typing import Any

import torch
from torch import Tensor

from .layout import Layout, NameLine, State, one_network, strip_wrappers

# VISSL keeps the network four levels down
TRUNK = 'classy_state_dict/base_model/model/trunk'
VISSL = Layout(
    'vissl',
    roots=(TRUNK,),
    sign=r'(_feature_blocks\.(conv1|layer1)\.|blocks\.0\.)',
    pairs=one_network(
        ('_feature_blocks.{rest}', 'backbone.net.{rest}'), ('{rest}', 'backbone.net.{rest}')
    ),
)

SOLO_LEARN = Layout(
    'solo-learn',
    roots=('state_dict', ''),
    sign=r'(momentum_backbone|momentum_projector|projector)\.',
    unless=r'(base_encoder|module|student|backbone\.\d+)\.',
    pairs=one_network(('backbone.{rest}', 'backbone.net.{rest}'), ('{rest}', None)),
)


# lightly's backbones are torchvision's children in a row, without the classifier
_STEM: tuple[NameLine, ...] = (
    ('backbone.0.{rest}', 'backbone.net.conv1.{rest}'),
    ('backbone.1.{rest}', 'backbone.net.bn1.{rest}'),
)
LIGHTLY = Layout(
    'lightly',
    roots=('state_dict', ''),
    sign=r'backbone\.4\.0\.conv1\.weight',
    pairs=one_network(
        *_STEM,
        *((f'backbone.{i + 4}.{{rest}}', f'backbone.net.layer{i + 1}.{{rest}}') for i in range(4)),
        ('{rest}', None),
    ),
)


def _joined(content: dict[str, Any], state: State) -> State:
    """Return the tensors (any shapes) of a ViT with queries, keys and values in one tensor."""
    found: State = {}
    for key, value in state.items():
        key = strip_wrappers(key).removeprefix('vit.')
        name = re.sub(r'attention\.attention\.(query|key|value)\.', 'attention.qkv.', key)
        if name == key:
            found[key] = value
        elif '.query.' in key:
            parts = [key.replace('.query.', f'.{part}.') for part in ('query', 'key', 'value')]
            found[name] = torch.cat([_of(state, part) for part in parts])
    return found


def _of(state: State, name: str) -> Tensor:
    """Return a tensor (*) by its name, with or without the name of the model in front."""
    return next(state[key] for key in (name, f'vit.{name}') if key in state)


HUGGINGFACE = Layout(
    'huggingface-vit',
    roots=('state_dict', ''),
    sign=r'(vit\.)?encoder\.layer\.0\.attention\.attention\.query\.weight',
    # DINOv2's has more than this table
    unless=r'(\w+\.)?(embeddings\.(register_tokens|mask_token)|encoder\.layer\.0\.layer_scale1)',
    prepare=_joined,
    pairs=one_network(
        ('embeddings.cls_token', 'backbone.net.cls_token'),
        ('embeddings.position_embeddings', 'backbone.net.pos_embed'),
        ('embeddings.patch_embeddings.projection.{rest}', 'backbone.net.patch_embed.proj.{rest}'),
        ('encoder.layer.{i}.layernorm_before.{rest}', 'backbone.net.blocks.{i}.norm1.{rest}'),
        ('encoder.layer.{i}.attention.qkv.{rest}', 'backbone.net.blocks.{i}.attn.qkv.{rest}'),
        (
            'encoder.layer.{i}.attention.output.dense.{rest}',
            'backbone.net.blocks.{i}.attn.proj.{rest}',
        ),
        ('encoder.layer.{i}.layernorm_after.{rest}', 'backbone.net.blocks.{i}.norm2.{rest}'),
        ('encoder.layer.{i}.intermediate.dense.{rest}', 'backbone.net.blocks.{i}.mlp.fc1.{rest}'),
        ('encoder.layer.{i}.output.dense.{rest}', 'backbone.net.blocks.{i}.mlp.fc2.{rest}'),
        ('layernorm.{rest}', 'backbone.net.norm.{rest}'),
        ('classifier.{rest}', 'head.fc.{rest}'),
        ('pooler.{rest}', None),
    ),
)
