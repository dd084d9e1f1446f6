"""Published figures of the model index, and the line that compares a result with one."""

from pathlib import Path
from typing import Any, NamedTuple

from ..evaluation.cache import POOLED
from ..evaluation.knn_loop import TEMPERATURE
from ..zoo.hub import ModelHub
from ..zoo.metafile import ModelInfo

# first word of a protocol -> how the names of its figures begin in metafiles
FIGURE_PREFIXES = {
    'knn': 'kNN',
    'linear': 'Linear',
    'fine-tuning': 'Fine-tune',
    '1%': '1 % Labels',
    '10%': '10 % Labels',
    'imagenet-s919': 'ImageNet-S919',
    'cifar-10': 'CIFAR-10 Fine-tune',
    'cifar-100': 'CIFAR-100 Fine-tune',
    'flowers': 'Flowers Fine-tune',
    'pets': 'Pets Fine-tune',
}
# what kNN figures were measured with; linear probes and fine-tuning have no such settings
KNN_SETTINGS = dict(features=POOLED, temperature=TEMPERATURE)
# sizes of the data sets that figures were measured on
IMAGENET = {
    'test': dict(images=50_000, classes=1000),
    'train': dict(images=1_281_167),
    'bank': dict(images=1_281_167),
}
DATASET_SIZES = {
    '1 % Labels': {**IMAGENET, 'train': dict(images=12_811)},
    '10 % Labels': {**IMAGENET, 'train': dict(images=128_116)},
    'ImageNet-S919': {'test': dict(images=12_419, classes=920), 'train': dict(images=9_190)},
    'CIFAR-10 ': {'test': dict(images=10_000, classes=10), 'train': dict(images=50_000)},
    'CIFAR-100 ': {'test': dict(images=10_000, classes=100), 'train': dict(images=50_000)},
    # training and validation images of the authors together
    'Flowers ': {'test': dict(images=6_149, classes=102), 'train': dict(images=2_040)},
    'Pets ': {'test': dict(images=3_669, classes=37), 'train': dict(images=3_680)},
}


class PublishedFigure(NamedTuple):
    """A published metric: its name, its value in percent, and the model and its source."""

    name: str
    value: float
    source: str


def published_figure(
    info: ModelInfo | None, protocol: str, config: Path, settings: dict[str, Any]
) -> PublishedFigure | None:
    """Return the published figure for a model and protocol, or None where there is none.

    A classifier has its own figure. A pretraining model has that of the classifier trained on it
    by this config, or one among its metadata: for kNN the one of the first k, where it is stated.
    ``settings`` are those of the run: kNN with other features or another temperature than
    `KNN_SETTINGS` has no published figure.
    """
    if info is None or any(
        settings.get(key, value) != value for key, value in KNN_SETTINGS.items()
    ):
        return None
    for name in (info.name, *info.downstream):
        other = ModelHub.get(name)
        same = name == info.name or (other.config and other.config.resolve() == config.resolve())
        if other.results and same:
            key, value = next(iter(other.results[0].metrics.items()))
            return _figure_of(other, key, value)
    kind = FIGURE_PREFIXES.get(protocol.split()[0].lower(), '')
    published = info.metadata.get('Published', {})
    (k, *_) = settings.get('k') or [None]
    for key in (f'{kind} k={k}', f'{kind} Top 1', f'{kind} mIoU'):
        if key in published:
            return _figure_of(info, key, published[key])
    return None


def _figure_of(info: ModelInfo, key: str, value: float) -> PublishedFigure:
    source = info.metadata.get('Source', 'its metafile')
    return PublishedFigure(key, float(value), f'{info.name}, {source}')


def comparison_line(
    published: PublishedFigure | None, metric: dict[str, Any], datasets: dict[str, Any]
) -> list[str]:
    """Return measured and published value, difference and source as one line, or no line.

    ``datasets`` are descriptions by role ('test', 'train', 'bank'), as `data_fingerprint`
    makes them; a set of another size makes the two not comparable.
    """
    if published is None:
        return []
    sizes = IMAGENET
    for prefix, other in DATASET_SIZES.items():
        if published.name.startswith(prefix):
            sizes = other
    text = f'{published.name}: measured {metric["last"]:.2f} %'
    if metric['best'] > metric['last']:
        text += f' (best {metric["best"]:.2f} %, {metric["best_at"]})'
    text += f', published {published.value:.1f} %'
    differences = [
        f'{datasets[role].get(key)} {key} to {role}'
        for role, counts in sizes.items()
        for key, value in counts.items()
        if datasets.get(role) and datasets[role].get(key) != value
    ]
    if differences:
        return [f'{text}, but not on this data ({", ".join(differences)}): not comparable']
    difference = metric['last'] - published.value
    return [f'{text}, difference {difference:+.2f} ({published.source})']
