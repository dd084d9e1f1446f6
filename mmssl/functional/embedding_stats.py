"""Statistics of embeddings that show a collapse: standard deviation, RankMe, cosine to teacher."""

import torch
from torch import Tensor
from torch.nn import functional as F


@torch.no_grad()
def embedding_std(x: Tensor) -> Tensor:
    """Mean over dimensions of the standard deviation of L2-normalised rows: (B, D) -> ().

    About 1/sqrt(D) for evenly distributed directions, 0 for equal rows (SimSiam, sec. 4.1).
    """
    return F.normalize(x.float(), dim=1).std(0, unbiased=False).mean()


@torch.no_grad()
def rankme(x: Tensor) -> Tensor:
    """Effective rank, exp of the entropy of the normalised singular values: (B, D) -> ().

    Between 1 and min(B, D) (RankMe, Garrido et al. 2023, eq. 1). NaN for non-finite x. The values
    are roots of the eigenvalues of the smaller Gram matrix, in float64.
    """
    finite = torch.isfinite(x).all()
    x = torch.where(finite, x, 0).double()  # the solver refuses others
    gram = x.T @ x if x.shape[0] > x.shape[1] else x @ x.T
    values = torch.linalg.eigvalsh(gram).clamp_min(0).sqrt()
    share = values / values.sum().clamp_min(1e-12) + 1e-7
    return torch.where(finite, torch.exp(-(share * share.log()).sum()), torch.nan)


@torch.no_grad()
def teacher_cosine(a: Tensor, b: Tensor) -> Tensor:
    """Mean cosine between rows of a and b: (B, D) twice -> ()."""
    return F.cosine_similarity(a.float(), b.float(), dim=1).mean()
