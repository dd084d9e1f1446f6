"""Walk the dicts within a config."""

from collections.abc import Iterable, Iterator
from typing import Any


def nested_dicts(node: Any) -> Iterator[dict[str, Any]]:
    """Yield every dict below a value of a config, the value itself first if it is one."""
    if isinstance(node, dict):
        yield node
        children: Iterable[Any] = node.values()
    elif isinstance(node, (list, tuple)):
        children = node
    else:
        return
    for child in children:
        yield from nested_dicts(child)
