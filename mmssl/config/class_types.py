"""Types that a config gives as classes become the names that registries have for them."""

from typing import Any

from mmengine.config import Config

from ..core import UserError
from ..registry import all_registries


def name_classes(cfg: Config, file: str) -> None:
    """Write the registered name in place of each ``type`` that is a class or function.

    Checks and records read names. Raises UserError for a class in no registry.
    """
    _name(cfg._cfg_dict, file, '')


def _name(node: Any, file: str, place: str) -> None:
    if isinstance(node, (list, tuple)):
        for i, item in enumerate(node):
            _name(item, file, f'{place}.{i}')
    elif isinstance(node, dict):
        kind = node.get('type')
        if callable(kind):
            node['type'] = _registered_name(kind, file, f'{place}.type'.lstrip('.'))
        for key, value in node.items():
            _name(value, file, f'{place}.{key}')


def _registered_name(kind: Any, file: str, place: str) -> str:
    """Return the name of a class. Raises UserError for one in no registry."""
    for each in all_registries():
        for name, found in each.module_dict.items():
            if found is kind:
                return str(name)
    name = getattr(kind, '__name__', str(kind))
    raise UserError(
        f'{file}: {place}={name}: the class is in no registry; put @MODELS.register_module() or '
        'the like above it (mmssl.registry), and its module into custom_imports',
        key=place,
        value=name,
    )
