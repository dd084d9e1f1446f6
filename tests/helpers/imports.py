"""The names that a Python file imports, for tests of the order between rooms."""

import ast
from pathlib import Path


def imported(file: Path, root: Path) -> set[str]:
    """Return absolute dotted names that a file of the package at ``root`` imports, anywhere in it.

    ``from .. import x`` counts as the name of x.
    """
    package = [root.name, *file.relative_to(root).parts[:-1]]
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            start = '.'.join([*above, *([node.module] if node.module else [])])
            names |= {f'{start}.{alias.name}' for alias in node.names}
    return names
