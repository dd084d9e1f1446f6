"""InfoNCE against sums written out."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F
from torch.testing import assert_close

from mmssl.functional import contrast
from mmssl.models.heads import ContrastiveHead


def cosine(a, b):
    dot = sum(x * y for x, y in zip(a, b, strict=True))
    return dot / math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))


def by_hand(q, keys, temperature, negatives=None):
    """Mean over rows of -log softmax, number by number."""
    total = 0.0
    for i, row in enumerate(q):
        if negatives is None:
            scores, own = [cosine(row, key) / temperature for key in keys], i
        else:
            scores = [cosine(row, keys[i]) / temperature]
            length = math.sqrt(sum(x * x for x in row))
            for column in zip(*negatives, strict=True):
                dot = sum(x * y for x, y in zip(row, column, strict=True))
                scores.append(dot / length / temperature)
            own = 0
        highest = max(scores)
        total += highest + math.log(sum(math.exp(s - highest) for s in scores)) - scores[own]
    return total / len(q)


@given(
    rows=st.integers(1, 5),
    dim=st.integers(1, 6),
    queue=st.integers(0, 7),
    temperature=st.sampled_from([0.07, 0.2, 1.0]),
    seed=st.integers(0, 1000),
)
def test_info_nce_is_its_definition(rows, dim, queue, temperature, seed):
    g = torch.Generator().manual_seed(seed)
    q, keys = (torch.randn(rows, dim, generator=g, dtype=torch.float64) for _ in range(2))
    negatives = None
    if queue:
        negatives = F.normalize(torch.randn(dim, queue, generator=g, dtype=torch.float64), dim=0)
    ours = contrast.info_nce(q, keys, temperature, negatives).item()
    stored = negatives.tolist() if queue else None
    assert ours == pytest.approx(
        by_hand(q.tolist(), keys.tolist(), temperature, stored), rel=1e-12, abs=1e-12
    )


def test_keys_get_no_gradient_and_queries_the_right_one():
    q, keys, negatives = (torch.randn(*s, dtype=torch.float64) for s in ((3, 4), (3, 4), (4, 5)))
    for queue in (None, negatives):
        keys.requires_grad_()
        assert torch.autograd.gradcheck(
            lambda x, n=queue: contrast.info_nce(x, keys.detach(), 0.2, n),
            q.clone().requires_grad_(),
        )
        contrast.info_nce(q.clone().requires_grad_(), keys, 0.2, queue).backward()
        assert keys.grad is None


def test_half_precision_is_computed_in_single():
    q, keys = torch.randn(4, 8).half(), torch.randn(4, 8).half()
    with torch.autocast('cpu', dtype=torch.bfloat16):
        loss = contrast.info_nce(q, keys, 0.1)
    assert loss.dtype == torch.float32
    assert_close(loss, contrast.info_nce(q.float(), keys.float(), 0.1), rtol=0, atol=0)


def test_the_uniform_loss_is_that_of_equal_candidates():
    """All keys alike: ln of the number of candidates, whatever the queries."""
    head, keys = ContrastiveHead(0.2, scaled=True), torch.ones(6, 3, dtype=torch.float64)
    q = torch.randn(6, 3, dtype=torch.float64)
    assert head(q, keys).item() == pytest.approx(head.uniform(6), abs=1e-12)
    assert head.uniform(6) == pytest.approx(0.4 * math.log(6), abs=1e-15)
    queue = F.normalize(torch.ones(3, 4, dtype=torch.float64), dim=0)
    plain = ContrastiveHead(0.07)
    assert plain(q, keys, queue).item() == pytest.approx(plain.uniform(6, 4), abs=1e-12)
    assert plain.uniform(6, 4) == pytest.approx(math.log(5), abs=1e-15)
