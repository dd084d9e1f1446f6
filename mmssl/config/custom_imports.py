"""Import the user's modules that a config names in ``custom_imports``."""

import importlib
import sys
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..core import UserError


def import_custom(wanted: dict[str, Any] | None, files: Iterable[Path]) -> None:
    """Import what a config's ``custom_imports`` names, before its types are looked up.

    The folders of ``files`` (the config and its bases) go in front of the search path, as a
    script's own folder does, so that a module beside a config is found from anywhere. Raises
    UserError naming a module that is not there, unless ``allow_failed_imports``.
    """
    if not wanted:
        return
    for folder in reversed([str(file.resolve().parent) for file in files]):
        if folder not in sys.path:
            sys.path.insert(0, folder)
    names = wanted.get('imports') or []
    for name in [names] if isinstance(names, str) else names:
        try:
            importlib.import_module(name)
        except ImportError as error:
            text = (
                f"custom_imports: cannot import '{name}' ({error}); put it beside the config, or "
                'its folder on PYTHONPATH'
            )
            if not wanted.get('allow_failed_imports'):
                raise UserError(text, key='custom_imports.imports', value=name) from error
            warnings.warn(text, stacklevel=2)
