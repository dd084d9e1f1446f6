"""Find published models by name, in model-index.yml and the metafiles."""

from collections.abc import Iterable
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path

from ..checkpoint.fetch.fetch import HASH, cached
from ..checkpoint.fetch.web import is_address
from ..core import UserError
from ..core.errors import closest
from .metafile import ModelInfo, read_index

PACKAGE = Path(__file__).resolve().parents[1]


class UnknownModel(UserError, ValueError):
    """No metafile has a model of this name."""


def root() -> Path:
    """Return the folder of configs, tools and metafiles: in the package, or beside it."""
    index = PACKAGE / '.mim' / 'model-index.yml'
    # an editable install has links to the repository there: its paths are what users know
    return index.resolve().parent if index.is_file() else PACKAGE.parent


class ModelHub:
    """Published and registered models by name, in any case; metafiles are read at first use."""

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
        """Return a model.

        Raises UnknownModel, a UserError and ValueError, with the closest names for an unknown one.
        """
        models = cls.models()
        if name.lower() not in models:
            raise UnknownModel(
                f"'{name}' is no model of mmssl{closest(name.lower(), models)}; "
                "mmssl.list_models() names all, list_models('*mocov3*') those with a word",
                key='name',
                value=name,
            )
        return models[name.lower()]

    @classmethod
    def register_model_index(cls, path: str | Path, config_prefix: str | Path = '') -> None:
        """Add the models of your own model index; configs are relative to ``config_prefix``.

        Raises UserError when the index is not readable or an entry is incomplete, ValueError when
        a name exists already.
        """
        added = read_index(Path(path), Path(config_prefix or Path(path).parent))
        for name in added:
            if name in cls.models():
                raise ValueError(
                    f"{path}: a model '{name}' exists already; give yours another name"
                )
        cls._added.update(added)


def config_file(text: str | Path) -> Path:
    """Return the config of a path, or of a recipe's name such as 'dino_vit-small-p16_...'.

    Files come first. Raises UserError, with the closest names, for neither.
    """
    path = Path(text)
    if path.is_file():
        return path
    name = path.name.removesuffix('.py')
    if len(path.parts) == 1 and name in (named := recipes()):
        return named[name]
    near = closest(path.name, [p.name for p in path.parent.glob('*.py')])
    if not near and path.suffix != '.py':
        near = closest(name, recipes())
    raise UserError(
        f'{path}: no such config file, and no recipe of this name{near}',
        key='file',
        value=str(text),
    )


@cache
def recipes() -> dict[str, Path]:
    """Return the configs of mmssl by name, without those that are bases of others."""
    files = sorted((root() / 'configs').rglob('*.py'))
    return {file.stem: file for file in files if '_base_' not in file.parts}


def published(text: str) -> ModelInfo | None:
    """Return the model of this name; None for paths, addresses and other text."""
    if is_address(text) or Path(text).exists() or not ModelHub.has(text):
        return None
    return ModelHub.get(text)


def identify(asked: str | None) -> ModelInfo | None:
    """Return the published model of a name, an address or a downloaded file, else None.

    `mmssl models --download` names files so.
    """
    if not asked:
        return None
    if info := published(asked):
        return info
    if Path(asked).is_file() and (info := published(Path(asked).stem)):
        return info
    for info in ModelHub.models().values():
        address = info.weights
        if not address:
            continue
        if asked == address or Path(asked) == cached(address, info.name):
            return info
        # file names with a hash, which are OpenMMLab's, are unique
        if HASH.search(address) and Path(asked).name == address.rpartition('/')[2]:
            return info
    return None


def list_models(
    pattern: str | None = None,
    exclude_patterns: Iterable[str] | None = None,
    task: str | None = None,
) -> list[str]:
    """Return the names of published models, sorted.

    A pattern matches the beginning of a name ('*mocov3' also its middle), so does each of
    ``exclude_patterns``. ``task`` is one of the results' ('Image Classification'), or 'null' for
    models that only pretrain. Raises TypeError when ``exclude_patterns`` is one text.
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
    """Return the models of our own index by their names in lower case."""
    models = read_index(root() / 'model-index.yml', root())
    # detectors and segmentors are built by their library
    return {key: info for key, info in models.items() if 'Library' not in info.metadata}
