"""Read metafiles of models: name, config, weights and published results."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from ..checkpoint import local_path
from ..core import UserError


class Result(NamedTuple):
    """Published metrics of a model on a data set."""

    task: str
    dataset: str
    metrics: dict[str, float]


@dataclass(frozen=True)
class ModelInfo:
    """One entry of a metafile.

    ``config`` is the recipe; for weights whose recipe is not here, one that has their network
    when ``overrides`` are merged into its model, or None.
    """

    name: str
    collection: str
    config: Path | None
    weights: str | None
    results: tuple[Result, ...]
    metadata: dict[str, Any] = field(repr=False)
    logs: dict[str, str] = field(repr=False)
    downstream: tuple[str, ...] = field(repr=False)
    overrides: dict[str, Any] = field(default_factory=dict, repr=False)
    encoder: str | None = None  # the model whose network a file of a classifier layer is for

    @property
    def branch(self) -> str:
        """The branch of the file meant for downstream use, 'export' where the file says which."""
        found: str = self.metadata.get('Branch', 'export')
        return found

    def fetch(self, url_mapping: tuple[str, str] | None = None) -> Path:
        """Return the weights as a local file, downloading them at most once.

        Raises UserError when nobody published any, or when they cannot be had.
        """
        if self.weights is None:
            raise UserError(
                f'{self.name}: its weights were never published; train it with its config, or '
                'choose one of mmssl.list_models()',
                key='name',
                value=self.name,
            )
        return local_path(self.weights, self.name, url_mapping, self.metadata.get('MD5', ''))


def read_index(path: Path, prefix: Path) -> dict[str, ModelInfo]:
    """Return the models of an index by lower-case name; configs are relative to ``prefix``.

    Raises UserError when a file is not readable or an entry is incomplete.
    """
    models: dict[str, ModelInfo] = {}
    for file in _yaml(path).get('Import', ()):
        content = _yaml(path.parent / file)
        # mmengine reads 'Models' too, and wants a config of each
        for entry in (*content.get('Models', ()), *content.get('Weights', ())):
            try:
                info = _info(entry, prefix)
            except (KeyError, TypeError) as error:
                raise UserError(
                    f'{path.parent / file}: an entry lacks {error}; add it',
                    key='file',
                    value=str(path.parent / file),
                ) from None
            models[info.name.lower()] = info
    return models


def _yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file; raise UserError when that fails."""
    loader = getattr(yaml, 'CSafeLoader', yaml.SafeLoader)
    try:
        return yaml.load(path.read_text(encoding='utf-8'), loader) or {}
    except (OSError, yaml.YAMLError) as error:
        reason = ' '.join(str(error).split())  # yaml's has several lines
        raise UserError(
            f'{path}: not a readable model index ({reason})', key='file', value=str(path)
        ) from None


def _info(entry: dict[str, Any], prefix: Path) -> ModelInfo:
    """Make a model of one entry; KeyError names what it lacks."""
    results = (Result(r['Task'], r['Dataset'], r['Metrics']) for r in entry['Results'] or ())
    config = entry.get('Config') or entry.get('Network')
    return ModelInfo(
        name=entry['Name'],
        collection=entry['In Collection'],
        config=prefix / config if config else None,
        weights=entry.get('Weights'),
        results=tuple(results),
        metadata=entry['Metadata'],
        logs=entry.get('Logs') or {},
        downstream=tuple(entry.get('Downstream') or ()),
        overrides=entry.get('Overrides') or {},
        encoder=entry.get('Encoder'),
    )
