"""Statistics of embeddings that show a collapse: standard deviation, RankMe, cosine to teacher."""

import torch
from torch import Tensor
from torch.nn import functional as F


@torch.no_grad()
def embedding_std(x: Tensor) -> float:
    """Mean over dimensions of the standard deviation of L2-normalised rows: (B, D) -> float.

    About 1/sqrt(D) for evenly distributed directions, 0 for equal rows (SimSiam, sec. 4.1).
    """
    return F.normalize(x.float(), dim=1).std(0, unbiased=False).mean().item()


@torch.no_grad()
def rankme(x: Tensor) -> float:
    """Effective rank, exp of the entropy of the normalised singular values: (B, D) -> float.

    Between 1 and min(B, D) (RankMe, Garrido et al. 2023, eq. 1). NaN for non-finite x. The values
    are roots of the eigenvalues of the smaller Gram matrix, in float64.
    """
    if not torch.isfinite(x).all():
        return float('nan')
    x = x.double()
    gram = x.T @ x if x.shape[0] > x.shape[1] else x @ x.T
    values = torch.linalg.eigvalsh(gram).clamp_min(0).sqrt()
    share = values / values.sum().clamp_min(1e-12) + 1e-7
    return torch.exp(-(share * share.log()).sum()).item()


@torch.no_grad()
def teacher_cosine(a: Tensor, b: Tensor) -> float:
    """Mean cosine between rows of a and b: (B, D) twice -> float."""
    return F.cosine_similarity(a.float(), b.float(), dim=1).mean().item()
