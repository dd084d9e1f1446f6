"""The published models: what model-index.yml and the metafiles say of them."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from ..checkpoint import local_path
from ..core import UserError
from ..core.errors import closest

PACKAGE = Path(__file__).resolve().parents[1]


class UnknownModel(UserError, ValueError):
    """A name that no metafile knows."""


class Result(NamedTuple):
    """A published figure of a model."""

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

    @property
    def side(self) -> str:
        """The branch of the file that is meant for use."""
        return self.metadata.get('Side', 'export')

    def fetch(self, url_mapping: tuple[str, str] | None = None) -> Path:
        """Return the weights as a local file; UserError when nobody published any."""
        if self.weights is None:
            raise UserError(f'{self.name}: its weights were never published')
        return local_path(self.weights, self.name, url_mapping, self.metadata.get('MD5', ''))


def root() -> Path:
    """Return where configs and metafiles are: in the installed package, or beside it."""
    inside = PACKAGE / '.mim'
    return inside if (inside / 'model-index.yml').is_file() else PACKAGE.parent


class ModelHub:
    """Models by name, whatever its case; reads the metafiles when first asked."""

    _added: dict[str, ModelInfo] = {}  # noqa: RUF012, shared on purpose

    @classmethod
    def models(cls) -> dict[str, ModelInfo]:
        """Return all models by their names in lower case."""
        return {**_published(), **cls._added}

    @classmethod
    def has(cls, name: str) -> bool:
        """Whether there is such a model."""
        return name.lower() in cls.models()

    @classmethod
    def get(cls, name: str) -> ModelInfo:
        """Return a model; raise UnknownModel, a ValueError, with the closest names."""
        models = cls.models()
        if name.lower() not in models:
            raise UnknownModel(
                f"'{name}' is no model of mmssl{closest(name.lower(), models)}; "
                "mmssl.list_models() names all, list_models('*mocov3*') those with a word"
            )
        return models[name.lower()]

    @classmethod
    def register_model_index(cls, path: str | Path, config_prefix: str | Path = '') -> None:
        """Add the models of your own model index; configs are relative to ``config_prefix``."""
        added = read_index(Path(path), Path(config_prefix or Path(path).parent))
        for name in added:
            if name in cls.models():
                raise ValueError(f"{path}: a model '{name}' exists already; give yours another name")
        cls._added.update(added)


def list_models(
    pattern: str | None = None,
    exclude_patterns: Iterable[str] | None = None,
    task: str | None = None,
) -> list[str]:
    """Return the names of published models, sorted.

    A pattern matches the beginning of a name ('*mocov3' also its middle), so does each of
    ``exclude_patterns``. ``task`` is one of the results' ('Image Classification'), or 'null' for
    models that only pretrain.
    """
    if isinstance(exclude_patterns, str):
        raise TypeError('exclude_patterns is a list of patterns, not one')

    def fits(name: str, pattern: str) -> bool:
        return fnmatchcase(name.lower(), f'{pattern.lower()}*')

    found = []
    for info in ModelHub.models().values():
        tasks = {result.task.lower() for result in info.results} or {'null'}
        if (
            (task is None or task.lower() in tasks)
            and (pattern is None or fits(info.name, pattern))
            and not any(fits(info.name, other) for other in exclude_patterns or ())
        ):
            found.append(info.name)
    return sorted(found)


@cache
def _published() -> dict[str, ModelInfo]:
    return read_index(root() / 'model-index.yml', root())


def read_index(path: Path, prefix: Path) -> dict[str, ModelInfo]:
    """Return the models of an index by lower-case name; raise UserError naming a broken file."""
    models: dict[str, ModelInfo] = {}
    for file in _yaml(path).get('Import', ()):
        content = _yaml(path.parent / file)
        # mmengine reads 'Models' too, and wants a config of each
        for entry in (*content.get('Models', ()), *content.get('Weights', ())):
            try:
                info = _info(entry, prefix)
            except (KeyError, TypeError) as error:
                raise UserError(f'{file}: an entry lacks {error}') from None
            models[info.name.lower()] = info
    return models


def _yaml(path: Path) -> dict[str, Any]:
    loader = getattr(yaml, 'CSafeLoader', yaml.SafeLoader)  # ten times faster where it exists
    try:
        return yaml.load(path.read_text(encoding='utf-8'), loader) or {}
    except (OSError, yaml.YAMLError) as error:
        raise UserError(f'{path}: not a readable model index ({error})') from None


def _info(entry: dict[str, Any], prefix: Path) -> ModelInfo:
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
    )
