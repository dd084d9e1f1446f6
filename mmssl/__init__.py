"""Self-supervised learning with vision transformers and ConvNets on mmengine."""

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from . import startup_signals  # noqa: F401, before mmengine, whose import takes a second
from .version import __version__

if TYPE_CHECKING:
    from .apis import (
        FeatureExtractor,
        ImageClassificationInferencer,
        ModelHub,
        build_method,
        build_transform,
        get_model,
        inference_model,
        list_methods,
        list_models,
    )

__all__ = [
    'FeatureExtractor',
    'ImageClassificationInferencer',
    'ModelHub',
    '__version__',
    'build_method',
    'build_transform',
    'get_model',
    'inference_model',
    'list_methods',
    'list_models',
]

# without mmengine `mmssl doctor` runs, and says so; all else fails where it imports it
with suppress(ImportError, AttributeError):
    from mmengine.config.utils import MODULE2PACKAGE

    # whose configs mmengine finds for a base such as 'mmssl::mocov3/....py'
    MODULE2PACKAGE.update(mmssl='mmssl', mmseg='mmseg')


def __getattr__(name: str) -> Any:
    """Import the API when it is first asked for: networks need timm, a config does not."""
    if name not in __all__:
        raise AttributeError(f"module 'mmssl' has no attribute '{name}'")
    from . import apis

    return getattr(apis, name)


def __dir__() -> list[str]:
    """List the API, which is imported when it is asked for, and nothing else."""
    return __all__
