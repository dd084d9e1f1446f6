"""Rows that translate the names of one kind of network, wherever they occur."""

from .layout import NameLines

# what our names of a ResNet match, for rows that only ResNets have
RESNET = r'net\.layer1\.0\.conv1\.'
# names of torchvision, timm and the official ViTs, which our ``net`` keeps
UNCHANGED: NameLines = (('{rest}', 'backbone.net.{rest}'),)

# a stage of the microsoft layout ends with its patch merging, one of timm begins with it
SWIN: NameLines = (
    ('layers.{i}.blocks.{j}.attn.relative_position_index', None),
    ('layers.{i}.blocks.{j}.attn_mask', None),
    ('layers.{i}.downsample.{rest}', 'backbone.net.layers.{i+1}.downsample.{rest}'),
    ('absolute_pos_embed', 'backbone.absolute_pos_embed'),
    *UNCHANGED,
)

# weights shared between local and global tokens are stored under both names
VIL: NameLines = (
    ('layer{i}.{j}.attn.query.{rest}', 'backbone.net.layer{i}.{j}.attn.query.{rest}'),
    ('layer{i}.{j}.attn.kv.{rest}', 'backbone.net.layer{i}.{j}.attn.kv.{rest}'),
    ('layer{i}.{j}.attn.proj.{rest}', 'backbone.net.layer{i}.{j}.attn.proj.{rest}'),
    *(
        (
            f'layer{{i}}.{{j}}.attn.{n}_global.{{rest}}',
            f'backbone.net.layer{{i}}.{{j}}.attn.{n}.{{rest}}',
        )
        for n in ('query', 'kv', 'proj')
    ),
    ('layer{i}.{j}.attn.relative_position_index', None),
)

# the transformer of mmpretrain
MM_VIT: NameLines = (
    ('cls_token', 'backbone.net.cls_token'),
    ('pos_embed', 'backbone.net.pos_embed'),
    ('patch_embed.projection.{rest}', 'backbone.net.patch_embed.proj.{rest}'),
    ('layers.{i}.ln1.{rest}', 'backbone.net.blocks.{i}.norm1.{rest}'),
    ('layers.{i}.ln2.{rest}', 'backbone.net.blocks.{i}.norm2.{rest}'),
    ('layers.{i}.ffn.layers.0.0.{rest}', 'backbone.net.blocks.{i}.mlp.fc1.{rest}'),
    ('layers.{i}.ffn.layers.1.{rest}', 'backbone.net.blocks.{i}.mlp.fc2.{rest}'),
    ('layers.{i}.{rest}', 'backbone.net.blocks.{i}.{rest}'),
    ('ln1.{rest}', 'backbone.net.norm.{rest}'),
)
