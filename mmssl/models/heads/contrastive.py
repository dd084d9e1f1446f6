"""Head of the contrastive methods: InfoNCE loss and predictor."""

import math
from typing import Any

from torch import Tensor, nn

from ...core import UserError, dist
from ...core.protocols import dims_of
from ...functional import contrast
from ...registry import MODELS


@MODELS.register_module()
class ContrastiveHead(nn.Module):
    """InfoNCE of queries and keys (MoCo, eq. 1), with the predictor of the queries' branch.

    ``scaled`` multiplies the loss by 2 * temperature, which makes the size of the gradient
    independent of the temperature (MoCo v3, Alg. 1). Raises UserError for a temperature that is
    not above 0, and for a predictor of two widths.
    """

    def __init__(
        self, temperature: float, predictor: dict[str, Any] | None = None, scaled: bool = False
    ) -> None:
        super().__init__()
        if temperature <= 0:
            raise UserError(
                f'model.head.temperature={temperature}: must be above 0',
                key='model.head.temperature',
                value=temperature,
            )
        self.temperature = temperature
        self.predictor = MODELS.build(predictor) if predictor else nn.Identity()
        self.in_dim, out_dim = dims_of(self.predictor)
        if out_dim != self.in_dim:
            raise UserError(
                f'model.head.predictor maps {self.in_dim} to {out_dim} channels; make them equal',
                key='model.head.predictor',
                value=predictor,
            )
        self.weight = 2 * temperature if scaled else 1.0

    def forward(self, q: Tensor, keys: Tensor, negatives: Tensor | None = None) -> Tensor:
        """Return the loss () of q (B, D) and keys (B, D).

        Negatives are (D, K), or when left out the other keys of all ranks.
        """
        return self.weight * contrast.info_nce(q, keys, self.temperature, negatives)

    def uniform(self, batch: int, negatives: int = 0) -> float:
        """Return the loss of equal scores of all candidates, for ``batch`` queries on each rank."""
        candidates = negatives + 1 if negatives else batch * dist.world_size()
        return self.weight * math.log(candidates)
