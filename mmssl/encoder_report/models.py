"""Which encoders a command line names: one file or name, several seeds, random weights, pixels."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ..checkpoint.fetch.library_names import PREFIXES
from ..checkpoint.fetch.web import is_address
from ..config.pretrained import RANDOM, require_file
from ..core import UserError
from ..zoo.hub import ModelHub, recipes

PIXELS = 'pixels'


class Run(NamedTuple):
    """One encoder: the model it is a seed of, its number, its weights, and who tells its network.

    ``source`` is what ``pretrained=`` takes, or 'pixels'; ``network`` a name or config, '' where
    the weights tell their network.
    """

    model: str
    seed: int
    source: str
    network: str = ''

    @property
    def label(self) -> str:
        """The model, and the seed where it is not the first."""
        return self.model if not self.seed else f'{self.model} seed {self.seed}'


class Model(NamedTuple):
    """A row of the table: its name, and a run for each seed."""

    name: str
    runs: tuple[Run, ...]


def names_network(text: str) -> bool:
    """Whether a text names a network: a model of ours, of timm or torchvision, or a config."""
    known = ModelHub.has(text) or text in recipes() or text.startswith(PREFIXES)
    return known or (Path(text).suffix == '.py' and Path(text).is_file())


def read_models(words: Sequence[str]) -> list[Model]:
    """Return the models that words of a command line name.

    A word is what ``pretrained=`` takes, 'random', 'pixels', or NAME@WEIGHTS,WEIGHTS, ...: a row
    NAME with a seed for each of the weights, which are files, or 'random'. NAME is the network,
    where it is that of a model, of timm or of a config, else only a name. LABEL=WORD calls the
    row LABEL. 'random' alone is the untrained network of the first model that tells one. Raises
    UserError for two models of one name and for files that are not there.
    """
    if not words:
        raise UserError('MODEL: name at least one encoder', key='MODEL', value=None)
    split = [_split(word) for word in words]
    first = next((n for n in map(_network_of, split) if n), '')
    models = []
    for (label, name, sources), word in zip(split, words, strict=True):
        network = name if names_network(name) else ''
        if RANDOM in sources and not network:
            network = first
            if not network:
                raise UserError(
                    f'{word}: random weights of which network? Write NETWORK@random, or name '
                    'another model too',
                    key='MODEL',
                    value=word,
                )
        for source in sources:
            _check_source(source)
        runs = [Run(label, i, source, network) for i, source in enumerate(sources)]
        models.append(Model(label, tuple(runs)))
    names = [model.name for model in models]
    for name in names:
        if names.count(name) > 1:
            raise UserError(
                f'{name}: two models of this name; write LABEL=MODEL to name them',
                key='MODEL',
                value=name,
            )
    return models


class Word(NamedTuple):
    """A word of the command line: what its row is called, NAME, and the weights of each seed."""

    label: str
    name: str
    sources: tuple[str, ...]


def _split(word: str) -> Word:
    """Return the parts of a word. Raises UserError for one of an empty part."""
    label, equals, rest = word.partition('=')
    if not equals or Path(word).exists() or '://' in label or '@' in label:
        label, rest = '', word
    if Path(rest).exists() or '@' not in rest or '://' in rest or rest.startswith('hf-hub:'):
        return Word(label or _short(rest), rest, (rest,))
    name, _, files = rest.partition('@')
    sources = tuple(part for part in files.split(',') if part)
    if not name or not sources:
        raise UserError(
            f'{word}: write NAME@FILE, or NAME@FILE,FILE for several seeds', key='MODEL', value=word
        )
    untrained = set(sources) == {RANDOM} and names_network(name)
    return Word(label or (f'{name} {RANDOM}' if untrained else name), name, sources)


def _short(word: str) -> str:
    """Return the name of a row: of a file its name and folder, else the word."""
    path = Path(word)
    return '/'.join(path.with_suffix('').parts[-2:]) if path.is_file() else word


def _network_of(word: Word) -> str:
    """Return what tells the network of a model, '' for random weights without one and pixels."""
    if names_network(word.name):
        return word.name
    return '' if word.sources[0] in (RANDOM, PIXELS) else word.sources[0]


def _check_source(source: str) -> None:
    """Check that a file is there. Raises UserError with near names of models when it is not."""
    known = source in (RANDOM, PIXELS) or names_network(source)
    if not known and not is_address(source):
        require_file(source)
