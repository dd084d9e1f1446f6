"""Settings of a network that its tensors do not state: attention heads and epsilon of norms."""

from ..checkpoint.architecture import family, sizes
from ..checkpoint.export import Network
from ..checkpoint.hyperparameters import ATTENTION_HEADS, METHODS, SMALL_EPS
from ..core import UserError
from ..models.backbones.vit import VisionTransformer


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
        heads: int | None = VisionTransformer.hyperparameters_of(found.settings)['num_heads']
        return heads
    published = ATTENTION_HEADS.get(found.layout, {}).get(width)
    return published or (None if width % 64 else width // 64)
