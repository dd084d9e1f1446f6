"""What the model index says of the network that was measured."""

from pathlib import Path
from typing import Any, NamedTuple

from ..checkpoint.fetch import HASH, cached
from ..evaluation.cache import POOLED
from ..evaluation.loops import TEMPERATURE
from .hub import ModelHub, published
from .index import ModelInfo

# first word of a protocol -> how the names of its figures begin in metafiles
KINDS = {
    'knn': 'kNN',
    'linear': 'Linear',
    'fine-tuning': 'Fine-tune',
    '1%': '1 % Labels',
    '10%': '10 % Labels',
    'imagenet-s919': 'ImageNet-S919',
}
# what kNN figures were measured with; linear probes and fine-tuning have no such settings
PROTOCOL = dict(features=POOLED, temperature=TEMPERATURE)
# the sets that figures were measured on
IMAGENET = {
    'test': dict(images=50_000, classes=1000),
    'train': dict(images=1_281_167),
    'bank': dict(images=1_281_167),
}
SETS = {
    '1 % Labels': {**IMAGENET, 'train': dict(images=12_811)},
    '10 % Labels': {**IMAGENET, 'train': dict(images=128_116)},
    'ImageNet-S919': {'test': dict(images=12_419, classes=920), 'train': dict(images=9_190)},
}


class Figure(NamedTuple):
    """A figure in percent, whose it is and of which model."""

    name: str
    value: float
    source: str


def identify(asked: str | None) -> ModelInfo | None:
    """Return the published model that a name, an address or a downloaded file is."""
    if not asked:
        return None
    if info := published(asked):
        return info
    for info in ModelHub.models().values():
        address = info.weights
        if address and (asked == address or Path(asked) == cached(address, info.name)):
            return info
        hashed = address and HASH.search(address)  # OpenMMLab's names are unique
        if address and hashed and Path(asked).name == address.rpartition('/')[2]:
            return info
    return None


def figure(
    info: ModelInfo | None, protocol: str, config: Path, facts: dict[str, Any]
) -> Figure | None:
    """Return the figure of a protocol that a config runs, or None where none was published.

    A classifier has its own; a pretraining model that of the classifier trained on it by this
    config, or one among its metadata, for kNN that of the first k where it is told. ``facts`` are
    the settings of the run: a kNN of other features or temperature than its base's has no figure.
    """
    if info is None or any(facts.get(key, value) != value for key, value in PROTOCOL.items()):
        return None
    for name in (info.name, *info.downstream):
        other = ModelHub.get(name)
        same = name == info.name or (other.config and other.config.resolve() == config.resolve())
        if other.results and same:
            key, value = next(iter(other.results[0].metrics.items()))
            return _of(other, key, value)
    kind = KINDS.get(protocol.split()[0].lower(), '')
    said = info.metadata.get('Published', {})
    (k, *_) = facts.get('k') or [None]
    for key in (f'{kind} k={k}', f'{kind} Top 1', f'{kind} mIoU'):
        if key in said:
            return _of(info, key, said[key])
    return None


def _of(info: ModelInfo, key: str, value: float) -> Figure:
    return Figure(key, float(value), f'{info.name}, {info.metadata.get("Source", "its metafile")}')


def line(found: Figure | None, metric: dict[str, Any], data: dict[str, Any]) -> list[str]:
    """Return measured, published, difference and source as one line, or none.

    ``data`` are the sets by their role, as `identity.of_data` describes them.
    """
    if found is None:
        return []
    best = metric['best'] - metric['last']
    sets = next((s for kind, s in SETS.items() if found.name.startswith(kind)), IMAGENET)
    also = f' (best {metric["best"]:.2f} %, {metric["best_at"]})' if best > 0 else ''
    told = f'{found.name}: measured {metric["last"]:.2f} %{also}, published {found.value:.1f} %'
    other = [
        f'{data[role].get(key)} {key} to {role}'
        for role, counts in sets.items()
        for key, value in counts.items()
        if data.get(role) and data[role].get(key) != value
    ]
    if other:
        return [f'{told}, but not on this data ({", ".join(other)}): not comparable']
    return [f'{told}, difference {metric["last"] - found.value:+.2f} ({found.source})']
