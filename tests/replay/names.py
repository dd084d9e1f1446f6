"""Names of an official file's tensors, translated to ours."""

from collections.abc import Iterable, Iterator
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from mmssl.checkpoint.layouts import detect, strip_wrappers
from mmssl.checkpoint.optimizer_state import RENAMED


class OfficialNames:
    """Translates the names of the official file ``path`` to those of a model."""

    def __init__(
        self, content: dict[str, Any], path: str, method: str, target: Iterable[str]
    ) -> None:
        self.layout, self.foreign = detect(content, path, method)
        self.target = set(target)
        self.prepared = self._prepared_names(content)

    def _prepared_names(self, content: dict[str, Any]) -> dict[str, str]:
        """Return the names that the layout changes before it translates: {official: changed}."""
        if self.layout.prepare is None:
            return {}
        stored = next(content[root] for root in self.layout.roots if root in content)
        # names in the place of tensors: it renames, and looks at none
        names: dict[str, Any] = {key: key for key in stored}
        changed: dict[str, Any] = self.layout.prepare({}, names)
        return {official: name for name, official in changed.items()}

    def __call__(self, key: str) -> str | None:
        """Return our name; that of a tensor without branch is the student's."""
        key = self.prepared.get(strip_wrappers(key), key)
        return self.layout.name_of(key, self.target) or self.layout.name_of(
            f'student.{key}', self.target
        )


def optimizer_entries(model: nn.Module, optimizer: Optimizer) -> Iterator[tuple[str, str, Any]]:
    """Yield (our name of the parameter, name of the entry, value); renamed entries twice."""
    names: dict[Tensor, str] = {p: name for name, p in model.named_parameters()}
    official = {ours: theirs for theirs, ours in RENAMED.items()}
    for p, entries in optimizer.state.items():
        for key, value in entries.items():
            yield names[p], key, value
            if key in official:
                yield names[p], official[key], value
