"""What was measured, as plain data: whether two results compare, and whether features are known."""

import hashlib
import math
from pathlib import Path
from typing import Any

from ..checkpoint.digest import digest
from ..core import UserError

SAMPLES = 64  # images of a set whose bytes are hashed as well


def of_data(dataset: Any) -> dict[str, Any]:
    """Return name, counts and content hash of an ImageSet, the same for every storage format.

    The hash is over keys and labels of all images and the bytes of some: copies of a set in
    another size mostly have the same names.
    """
    if not hasattr(dataset, 'source'):
        return dict(name=type(dataset).__name__, images=len(dataset))
    folder = Path(dataset.root).name
    return dict(
        name=f'{folder}/{dataset.split}' if dataset.split else folder,
        images=len(dataset),
        classes=len(dataset.classes),
        hash=_content(dataset),
    )


def _content(dataset: Any) -> str:
    total = hashlib.sha256()
    key = dataset.source.key
    for i, place in enumerate(dataset.kept.tolist()):
        label = dataset.labels[i] if dataset.labels else ''
        total.update(f'{key(place)}\t{label}\n'.encode('utf-8', 'surrogateescape'))
    step = max(1, len(dataset) // SAMPLES)
    for i in range(0, len(dataset), step):
        try:
            total.update(hashlib.sha256(dataset.read(i)).digest())
        except UserError:  # an unreadable image, which extraction will name
            total.update(b'unreadable')
    return total.hexdigest()[:16]


def of_weights(backbone: Any) -> str:
    """Return a hash over the weights that a backbone has."""
    return digest(dict(backbone.state_dict()))[:16]


def of_network(settings: dict[str, Any]) -> dict[str, Any]:
    """Return what a config says of a backbone, without where its weights came from."""
    return plain({k: v for k, v in settings.items() if k != 'init_cfg'})


def plain(value: Any) -> Any:
    """Return settings as JSON can hold them."""
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    return str(value)
