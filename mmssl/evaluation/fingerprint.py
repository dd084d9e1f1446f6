"""Fingerprints of data sets, networks and weights, as plain data.

They tell whether two results are of the same data and network, and whether stored features may
be read again.
"""

import hashlib
from pathlib import Path
from typing import Any

from ..checkpoint.content_hash import digest
from ..core import UserError
from ..core.io import to_plain
from ..datasets import ImageDataset

SAMPLES = 64  # images of a set whose bytes are hashed as well


def data_fingerprint(dataset: Any) -> dict[str, Any]:
    """Return name, counts and content hash of an ImageDataset, the same for every storage format.

    The hash is over keys and labels of all images and the bytes of some: copies of a set in
    another size mostly have the same names. For other data sets, only class name and length.
    """
    if not isinstance(dataset, ImageDataset):
        return dict(name=type(dataset).__name__, images=len(dataset))
    folder = Path(dataset.root).name
    return dict(
        name=f'{folder}/{dataset.split}' if dataset.split else folder,
        images=len(dataset),
        classes=len(dataset.classes),
        hash=_content_hash(dataset),
    )


def _content_hash(dataset: ImageDataset) -> str:
    total = hashlib.sha256()
    key = dataset.source.key
    for i, place in enumerate(dataset.indices.tolist()):
        label = dataset.labels[i] if dataset.labels else ''
        total.update(f'{key(place)}\t{label}\n'.encode('utf-8', 'surrogateescape'))
    step = max(1, len(dataset) // SAMPLES)
    for i in range(0, len(dataset), step):
        try:
            total.update(hashlib.sha256(dataset.read(i)).digest())
        except UserError:  # an unreadable image, which extraction will name
            total.update(b'unreadable')
    return total.hexdigest()[:16]


def weights_hash(backbone: Any) -> str:
    """Return a hash of the weights of a backbone."""
    return digest(dict(backbone.state_dict()))[:16]


def network_settings(settings: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of a backbone without ``init_cfg``, the source of its weights."""
    found: dict[str, Any] = to_plain(
        {key: value for key, value in settings.items() if key != 'init_cfg'}
    )
    return found
