"""Settings of a network that its tensors do not state: attention heads and epsilon of norms."""

from ..checkpoint.architecture import family, sizes
from ..checkpoint.export import Network
from ..core import UserError
from ..models.backbones.vit import ARCHS

# the layouts of each method's own files; files of one network fit every method
METHODS = {
    'moco': ('mocov2', 'mm_mocov2'),
    'mocov3': ('mocov3', 'mm_mocov3'),
    'moby': ('moby',),
    'esvit': ('esvit', 'dino'),
    'sere': ('sere', 'ibot'),
    'swav': ('swav', 'mm_swav'),
}
# layouts whose methods use an epsilon of 1e-6 in every network
SMALL_EPS = ('esvit', 'dino', 'sere', 'ibot')


def check_method(layout: str, source: str, method: str | None) -> None:
    """Check that a file is of ``method``, if one is named; files of one network fit every method.

    Raises UserError when it is of another method.
    """
    for name, layouts in METHODS.items():
        if method and layout in layouts and name != method:
            raise UserError(
                f'{source}: is a file of {name} ({layout}), not of {method}; use --selfsup {name}, '
                'or leave it out',
                key='--selfsup',
                value=method,
            )


def norm_eps(found: Network) -> float:
    """Return the epsilon of the network's layer norms, from its settings or its method."""
    default = 1e-6 if family(found.state) == 'vit' or found.layout in SMALL_EPS else 1e-5
    return float(found.settings.get('norm_eps', default))


def num_heads(found: Network) -> int | None:
    """Return a ViT's attention heads, from its settings, method or width; None when unknown."""
    width = sizes(found.state)['width']
    if 'arch' in found.settings:
        arch = found.settings['arch']
        size = ARCHS.get(arch) if isinstance(arch, str) else arch  # (width, depth, heads)
        return found.settings.get('num_heads') or (size and size[2])
    if found.layout in METHODS['mocov3'] and width in (384, 768):
        return 12  # not the 6 of DeiT's small one
    return None if width % 64 else width // 64
