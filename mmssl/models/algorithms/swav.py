"""SwAV (Caron et al., NeurIPS 2020)."""

from typing import Any

from torch import Tensor
from torch.nn import functional as F

from ...core import UserError
from ...registry import MODELS
from .base import Pretrainer


@MODELS.register_module()
class SwAV(Pretrainer):
    """Crops predict the cluster codes of other crops; no teacher (``main_swav.py``)."""

    export = 'student'

    def begin_update(self) -> None:
        """Normalise the prototypes before the first forward of an optimizer step.

        Not in the forward: there FullyShard shows copies of the parameters.
        """
        self.head.normalize_prototypes()
        super().begin_update()

    def loss(self, views: list[Tensor], info: dict[str, Any]) -> dict[str, Tensor]:
        """Mean over the crops that give codes."""
        features = [f.pooled for f in self.student.encode(views)]  # (B, C) each
        z = [F.normalize(p, dim=1) for p in self.student.project('project', features)]
        self.log_embeddings(student=z[0], teacher=z[1])
        epoch = self.progress.step // self.progress.per_epoch
        return {'loss': self.head(z, epoch)}

    @classmethod
    def check_recipe(cls, model: dict, views: list[dict], mask: dict | None) -> None:
        """Crops that give codes must exist."""
        super().check_recipe(model, views, mask)
        assign = (model.get('head') or {}).get('assign', (0, 1))
        if max(assign) >= len(views):
            raise UserError(
                f'head.assign={tuple(assign)} names crop {max(assign)}, but there are '
                f'{len(views)}, counted from 0'
            )

    def check_batch(self, batch: int) -> None:
        """A memory must hold at least one step's embeddings."""
        if self.head.memory is not None and batch > self.head.memory.length:
            raise UserError(
                f'queue_length={self.head.memory.length} is smaller than the batch of all '
                f'processes, {batch}: the memory would never fill'
            )

    def uniform_loss(self, batch: int) -> float:
        """ln K."""
        return self.head.uniform()
