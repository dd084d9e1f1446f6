"""Head of the contrastive methods."""

import math

from torch import Tensor, nn

from ...core import UserError, dist
from ...core.protocols import dims_of
from ...functional import contrast
from ...registry import MODELS


@MODELS.register_module()
class ContrastiveHead(nn.Module):
    """InfoNCE of queries against keys, with the online side's predictor.

    ``scaled`` multiplies the loss by 2 * temperature, which makes the size of the gradient
    independent of the temperature (MoCo v3, Alg. 1).
    """

    def __init__(
        self, temperature: float, predictor: dict | None = None, scaled: bool = False
    ) -> None:
        super().__init__()
        if temperature <= 0:
            raise UserError(f'head.temperature={temperature}: must be above 0')
        self.temperature = temperature
        self.predictor = MODELS.build(predictor) if predictor else nn.Identity()
        self.in_dim, out_dim = dims_of(self.predictor)
        if out_dim != self.in_dim:
            raise UserError(
                f'the predictor maps {self.in_dim} to {out_dim} channels; they must be equal'
            )
        self.weight = 2 * temperature if scaled else 1.0

    def forward(self, q: Tensor, keys: Tensor, negatives: Tensor | None = None) -> Tensor:
        """Loss (scalar) of q (B, D) for keys (B, D), negatives (D, K) or the gathered keys."""
        return self.weight * contrast.info_nce(q, keys, self.temperature, negatives)

    def uniform(self, batch: int, negatives: int = 0) -> float:
        """Loss when every candidate looks the same, for ``batch`` queries on each rank."""
        candidates = negatives + 1 if negatives else batch * dist.world_size()
        return self.weight * math.log(candidates)
