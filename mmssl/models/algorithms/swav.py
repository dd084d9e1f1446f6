"""SwAV (Caron et al., NeurIPS 2020)."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor
from torch.nn import functional as F

from ...core import UserError
from ...registry import MODELS
from .base import Pretrainer


@MODELS.register_module()
class SwAV(Pretrainer):
    """Prediction of other crops' cluster codes, without a teacher (``main_swav.py``)."""

    export = 'student'
    min_batch = 2

    def begin_update(self) -> None:
        """Normalise the prototypes before the first forward of an optimizer step.

        Not in the forward: there FullyShard shows copies of the parameters.
        """
        self.head.normalize_prototypes()
        super().begin_update()

    def loss(self, views: list[Tensor], info: dict[str, Any]) -> dict[str, Tensor]:
        """Return the loss () of crops (B, 3, H, W): mean over the crops that give codes."""
        features = [f.pooled for f in self.student.encode(views)]  # (B, C) each
        z = [F.normalize(p, dim=1) for p in self.student.project('project', features)]
        self.log_embeddings(student=z[0], teacher=z[1])
        epoch = self.progress.step // self.progress.per_epoch
        return {'loss': self.head(z, epoch)}

    @classmethod
    def leading(cls, model: dict[str, Any]) -> Sequence[int]:
        """Return the crops that give codes."""
        assign: Sequence[int] = (model.get('head') or {}).get('assign', (0, 1))
        return assign

    @classmethod
    def check_recipe(
        cls, model: dict[str, Any], views: list[dict[str, Any]], mask: dict[str, Any] | None
    ) -> None:
        """Check a config as `Pretrainer.check_recipe` does, and ``model.head.assign``.

        Raises UserError when it names a crop that does not exist.
        """
        assign = cls.leading(model)
        if len(views) >= cls.min_views and max(assign) >= len(views):
            raise UserError(
                f'model.head.assign={tuple(assign)} names crop {max(assign)}, but MultiView.views '
                f'has {len(views)}, counted from 0',
                key='model.head.assign',
                value=assign,
            )
        super().check_recipe(model, views, mask)

    def check_batch(self, batch: int) -> None:
        """Check that the memory holds the embeddings of one step.

        Raises UserError when it cannot, as it would never be full.
        """
        super().check_batch(batch)
        if self.head.memory is not None and batch > self.head.memory.length:
            raise UserError(
                f'model.head.queue_length={self.head.memory.length} is smaller than the batch of '
                f'all processes, {batch}; raise it, or lower train_dataloader.batch_size',
                key='model.head.queue_length',
                value=self.head.memory.length,
            )

    def uniform_loss(self, batch: int) -> float:
        """Return ln K."""
        found: float = self.head.uniform()
        return found
