"""Files of one network: torchvision, timm, microsoft's Swin, mmpretrain, mmdet and mmseg.

The backbones that iBOT, SERE and DINO release have timm's names; the linear files of MoCo are
torchvision's or timm's, those of MoBY microsoft's or timm's.
"""

from ..template import Pair
from .base import Dialect, Lines, prefixed, single
from .families import MM_VIT, PLAIN, SWIN

ROOTS = ('state_dict', 'model', '')
CLASSIFIER: Lines = (('head.fc.{rest}', 'head.fc.{rest}'),)

TORCHVISION = Dialect(
    'torchvision',
    roots=ROOTS,
    sign=r'layer1\.0\.conv1\.weight',
    unless=r'(projection_head|prototypes)\.',
    pairs=single(('fc.{rest}', 'head.fc.{rest}'), *PLAIN),
)

_VIT_HEADS: Lines = (
    ('head.weight', 'head.fc.weight'),
    ('head.bias', 'head.fc.bias'),
    *CLASSIFIER,
)
# what SERE and iBOT keep beside a transformer
_RELATIONS: Lines = (
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
# merging at the beginning of a stage (timm), or at its end (microsoft)
_BEGINS, _ENDS = r'layers\.[1-9]\d*\.downsample\.', r'layers\.0\.downsample\.'

TIMM = Dialect(
    'timm',
    roots=ROOTS,
    sign=rf'(blocks\.0\.|{_BEGINS})',
    unless=_ENDS,
    prefix=_WRAPPERS,
    pairs=single(*_VIT_HEADS, *_RELATIONS, *PLAIN),
)

MICROSOFT = Dialect(
    'swin',
    roots=ROOTS,
    sign=_ENDS,
    prefix=_WRAPPERS,
    pairs=single(*_VIT_HEADS, *_RELATIONS, *SWIN),
)

MMPRETRAIN = Dialect(
    'mmpretrain',
    roots=ROOTS,
    sign=r'(backbone\.(layer1\.0\.conv1|conv1)\.weight|(backbone\.)?layers\.0\.attn\.qkv\.weight)',
    unless=r'(neck\.projection_neck|encoder_k|momentum_encoder)\.',
    pairs=single(
        ('head.layers.head.{rest}', 'head.fc.{rest}'),
        *CLASSIFIER,
        *prefixed('backbone.', MM_VIT + PLAIN),
        *MM_VIT,
    ),
)

_BLOCK = 'backbone.net.layers.{i}.blocks.{j}'
_STAGE = 'stages.{i}.blocks.{j}'
MM_SWIN = Dialect(
    'mmdet',
    roots=ROOTS,
    sign=r'stages\.\d+\.blocks\.\d+\.attn\.w_msa\.',
    prefix=_WRAPPERS,
    pairs=(
        *single(
            ('patch_embed.projection.{rest}', 'backbone.net.patch_embed.proj.{rest}'),
            (f'{_STAGE}.attn.w_msa.relative_position_index', None),
            (f'{_STAGE}.attn.w_msa.{{rest}}', f'{_BLOCK}.attn.{{rest}}'),
            (f'{_STAGE}.ffn.layers.0.0.{{rest}}', f'{_BLOCK}.mlp.fc1.{{rest}}'),
            (f'{_STAGE}.ffn.layers.1.{{rest}}', f'{_BLOCK}.mlp.fc2.{{rest}}'),
        ),
        Pair(
            'stages.{i}.downsample.norm.{rest}',
            'backbone.net.layers.{i+1}.downsample.norm.{rest}',
            'merging',
        ),
        Pair(
            'stages.{i}.downsample.reduction.{rest}',
            'backbone.net.layers.{i+1}.downsample.reduction.{rest}',
            'merging',
        ),
        *single((f'{_STAGE}.{{rest}}', f'{_BLOCK}.{{rest}}'), *CLASSIFIER),
        # norms of single outputs are not the network's last one, which has no place there
        *(Pair(f'norm{i}.{{rest}}', None) for i in range(4)),
        Pair('', 'backbone.net.norm.{rest}'),
        *single(*PLAIN),
    ),
)

MMSEG = Dialect(
    'mmseg',
    roots=ROOTS,
    sign=r'layers\.0\.attn\.attn\.in_proj_weight',
    prefix=_WRAPPERS,
    pairs=single(
        ('layers.{i}.attn.attn.in_proj_weight', 'backbone.net.blocks.{i}.attn.qkv.weight'),
        ('layers.{i}.attn.attn.in_proj_bias', 'backbone.net.blocks.{i}.attn.qkv.bias'),
        ('layers.{i}.attn.attn.out_proj.{rest}', 'backbone.net.blocks.{i}.attn.proj.{rest}'),
        *MM_VIT,
    ),
)
