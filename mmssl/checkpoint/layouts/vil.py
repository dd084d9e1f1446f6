"""ViL files: names of the official layout."""

from .layout import NameLines

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
