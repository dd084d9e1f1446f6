"""Head of SwAV: prototypes, codes and queue."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...core import UserError
from ...core.kinds import Count
from ...core.table_cache import remembered
from ...functional import assign, distill
from ...registry import MODELS
from ..queue import FeatureBank


@remembered
def _other_crops(assigning: tuple[int, ...], crops: int) -> Tensor:
    """Weights (A, V) of a mean over pairs of an assigning crop and another one."""
    pairs = [[float(v != crop) for v in range(crops)] for crop in assigning]
    return torch.tensor(pairs, dtype=torch.float64) / (len(assigning) * (crops - 1))


@MODELS.register_module()
class SwAVHead(nn.Module):
    """Swapped prediction of codes (Caron et al. 2020, eq. 2).

    ``assign`` are the crops that give codes. ``queue_length`` counts embeddings over all ranks
    (0: none); the memory fills from epoch ``queue_start`` on and is used once full. The recipe
    sets both: ``model.head.queue_length``, ``model.head.queue_start``. Raises UserError for a
    temperature or ``epsilon`` that is not above 0, and for no iteration.
    """

    def __init__(
        self,
        dim: int = 128,
        prototypes: Count = 3000,
        temperature: float = 0.1,
        epsilon: float = 0.05,
        iterations: int = 3,
        assign: tuple[int, ...] = (0, 1),
        queue_length: int = 0,
        queue_start: int = 15,
    ) -> None:
        super().__init__()
        for name, given in (('temperature', temperature), ('epsilon', epsilon)):
            if given <= 0:
                raise UserError(
                    f'model.head.{name}={given}: must be above 0',
                    key=f'model.head.{name}',
                    value=given,
                )
        if iterations < 1:
            raise UserError(
                f'model.head.iterations={iterations}: must be at least 1',
                key='model.head.iterations',
                value=iterations,
            )
        self.in_dim = dim
        self.prototypes = nn.Linear(dim, prototypes, bias=False)
        self.temperature = temperature
        self.epsilon = epsilon
        self.iterations = iterations
        self.assign = tuple(assign)
        self.queue_start = queue_start
        self.memory = FeatureBank(dim, queue_length, len(assign)) if queue_length else None

    @torch.no_grad()
    def normalize_prototypes(self) -> Tensor:
        """Return the prototypes (K, D), normalised in place; called as each iteration begins."""
        return self.prototypes.weight.copy_(F.normalize(self.prototypes.weight, dim=1))

    @torch.no_grad()
    def codes(self, scores: Tensor, crop: int, fill: bool) -> Tensor:
        """Return the codes (B, K) of one assigning crop's scores (B, K).

        With ``fill`` the scores of stored embeddings take part. ``crop`` counts assigning crops.
        """
        batch = len(scores)
        stored = self.memory.read(crop, batch) if self.memory is not None and fill else None
        if stored is not None:
            scores = torch.cat([self.prototypes(stored.to(scores)), scores])
        return assign.sinkhorn(scores, self.epsilon, self.iterations)[-batch:]

    def forward(self, embeddings: list[Tensor], epoch: int) -> Tensor:
        """Return the loss () of V crops' unit embeddings (B, D), of the same images each."""
        rows = self.prototypes(torch.cat(embeddings))
        scores = rows.unflatten(0, (len(embeddings), -1))  # (V, B, K)
        fill = self.memory is not None and epoch >= self.queue_start
        given = [self.codes(scores[c].detach(), at, fill) for at, c in enumerate(self.assign)]
        losses = self.table(torch.stack(given), scores)
        if fill and self.memory is not None:
            self.memory.push([embeddings[crop] for crop in self.assign])
        others = _other_crops(self.assign, len(embeddings), device=losses.device)
        return (losses * others.to(losses)).sum()

    def table(self, codes: Tensor, scores: Tensor) -> Tensor:
        """Return the mean cross-entropies (A, V) of codes (A, B, K) and scores (V, B, K)."""
        return distill.cross_entropy(codes[:, None], scores[None], self.temperature).mean(-1)

    def uniform(self) -> float:
        """Return ln K, the loss of equal scores of all prototypes."""
        return math.log(self.prototypes.out_features)
