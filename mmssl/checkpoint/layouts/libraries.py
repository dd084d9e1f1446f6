"""Layouts of single networks: torchvision, timm, Microsoft's Swin, mmpretrain, mmdet and mmseg.

The backbones that iBOT, SERE and DINO release have timm's names; the linear files of MoCo are
torchvision's or timm's, those of MoBY microsoft's or timm's.
"""

from .families import MM_VIT, SWIN, UNCHANGED
from .layout import Layout, NameLines, one_network, prefixed
from .name_template import NamePair

ROOTS = ('state_dict', 'model', '')
CLASSIFIER: NameLines = (('head.fc.{rest}', 'head.fc.{rest}'),)

TORCHVISION = Layout(
    'torchvision',
    roots=ROOTS,
    sign=r'layer1\.0\.conv1\.weight',
    unless=r'(projection_head|prototypes)\.',
    pairs=one_network(('fc.{rest}', 'head.fc.{rest}'), *UNCHANGED),
)

_VIT_HEADS: NameLines = (
    ('head.weight', 'head.fc.weight'),
    ('head.bias', 'head.fc.bias'),
    *CLASSIFIER,
)
# what SERE and iBOT keep beside a transformer
_RELATIONS: NameLines = (
    ('masked_embed', 'backbone.mask_token'),
    ('channel_sere.{rest}', None),
    ('pixel_sere.{rest}', None),
    ('channel_sere_local.{rest}', None),
    ('pixel_sere_local.{rest}', None),
    ('head.mlp.{rest}', None),
    ('head.last_layer.{rest}', None),
    ('head.last_layer2.{rest}', None),
)
_WRAPPERS = r'(module\.|backbone\.)+'
_MERGES_FIRST = r'layers\.[1-9]\d*\.downsample\.'  # timm merges patches before a stage
_MERGES_LAST = r'layers\.0\.downsample\.'  # microsoft after it

TIMM = Layout(
    'timm',
    roots=ROOTS,
    sign=rf'(blocks\.0\.|{_MERGES_FIRST})',
    unless=_MERGES_LAST,
    prefix=_WRAPPERS,
    pairs=one_network(*_VIT_HEADS, *_RELATIONS, *UNCHANGED),
)

MICROSOFT = Layout(
    'swin',
    roots=ROOTS,
    sign=_MERGES_LAST,
    prefix=_WRAPPERS,
    pairs=one_network(*_VIT_HEADS, *_RELATIONS, *SWIN),
)

MMPRETRAIN = Layout(
    'mmpretrain',
    roots=ROOTS,
    sign=r'(backbone\.(layer1\.0\.conv1|conv1)\.weight|(backbone\.)?layers\.0\.attn\.qkv\.weight)',
    unless=r'(neck\.projection_neck|encoder_k|momentum_encoder)\.',
    pairs=one_network(
        ('head.layers.head.{rest}', 'head.fc.{rest}'),
        *CLASSIFIER,
        *prefixed('backbone.', MM_VIT + UNCHANGED),
        *MM_VIT,
    ),
)

_BLOCK = 'backbone.net.layers.{i}.blocks.{j}'
_STAGE = 'stages.{i}.blocks.{j}'
MM_SWIN = Layout(
    'mmdet',
    roots=ROOTS,
    sign=r'stages\.\d+\.blocks\.\d+\.attn\.w_msa\.',
    prefix=_WRAPPERS,
    pairs=(
        *one_network(
            ('patch_embed.projection.{rest}', 'backbone.net.patch_embed.proj.{rest}'),
            (f'{_STAGE}.attn.w_msa.relative_position_index', None),
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
        # norms of single outputs are not the network's last one, which has no place there
        *(NamePair(f'norm{i}.{{rest}}', None) for i in range(4)),
        NamePair('', 'backbone.net.norm.{rest}'),
        *one_network(*UNCHANGED),
    ),
)

MMSEG = Layout(
    'mmseg',
    roots=ROOTS,
    sign=r'layers\.0\.attn\.attn\.in_proj_weight',
    prefix=_WRAPPERS,
    pairs=one_network(
        ('layers.{i}.attn.attn.in_proj_weight', 'backbone.net.blocks.{i}.attn.qkv.weight'),
        ('layers.{i}.attn.attn.in_proj_bias', 'backbone.net.blocks.{i}.attn.qkv.bias'),
        ('layers.{i}.attn.attn.out_proj.{rest}', 'backbone.net.blocks.{i}.attn.proj.{rest}'),
        *MM_VIT,
    ),
)
