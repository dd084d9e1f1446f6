"""ViT files: names of mmpretrain's layout, of classifiers, and of SERE's extra heads."""

from .layout import NameLines

CLASSIFIER: NameLines = (('head.fc.{rest}', 'head.fc.{rest}'),)

VIT_HEADS: NameLines = (
    ('head.weight', 'head.fc.weight'),
    ('head.bias', 'head.fc.bias'),
    *CLASSIFIER,
)
# what SERE and iBOT keep beside a transformer
RELATIONS: NameLines = (
    ('masked_embed', 'backbone.mask_token'),
    ('channel_sere.{rest}', None),
    ('pixel_sere.{rest}', None),
    ('channel_sere_local.{rest}', None),
    ('pixel_sere_local.{rest}', None),
    ('head.mlp.{rest}', None),
    ('head.last_layer.{rest}', None),
    ('head.last_layer2.{rest}', None),
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
