"""kNN against a NumPy implementation by loops."""

import inspect

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import mmssl.evaluation
from mmssl.evaluation import knn as module
from mmssl.evaluation.knn import accuracy, check_numbers, knn

from ..helpers.oracles import brute_force
from ..helpers.refusals import refuses


@given(
    stored=st.integers(1, 40),
    asked=st.integers(0, 30),
    width=st.integers(2, 9),
    classes=st.integers(1, 7),
    k=st.integers(1, 50),
    temperature=st.sampled_from([0.07, 0.2, 1.0]),
    chunk=st.sampled_from([1, 2, 7, 64, 2**24]),
    seed=st.integers(0, 10**6),
)
@pytest.mark.filterwarnings('ignore:kNN. k=')
def test_votes_are_brute_force_for_all_sizes(
    stored, asked, width, classes, k, temperature, chunk, seed
):
    """One bank row, fewer queries than a chunk, k above the bank, any chunk boundary."""
    rng = np.random.default_rng(seed)
    bank, queries = rng.normal(size=(stored, width)), rng.normal(size=(asked, width))
    labels = rng.integers(0, classes, stored)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, 'CHUNK', chunk)
        ours = knn(*map(torch.from_numpy, (bank, labels, queries)), k, temperature, classes)
    assert ours.shape == (asked, classes)
    expected = brute_force(bank, labels, queries, k, temperature, classes)
    np.testing.assert_allclose(ours.numpy(), expected, rtol=1e-9, atol=1e-300)


@pytest.mark.parametrize('chunk', [30, 2**24])
def test_the_nearest_of_a_large_k_begin_with_those_of_a_small_one(chunk, monkeypatch):
    """So one search serves every k."""
    monkeypatch.setattr(module, 'CHUNK', chunk)
    bank, queries = torch.randn(60, 5).double(), torch.randn(7, 5).double()
    cosines, index = module.nearest(bank, queries, 50)
    unit = torch.nn.functional.normalize
    right = (unit(queries) @ unit(bank).T).sort(descending=True)
    torch.testing.assert_close(cosines, right.values[:, :50])
    assert torch.equal(index, right.indices[:, :50])
    assert torch.equal(module.nearest(bank, queries, 7)[1], index[:, :7])


def test_its_name_and_arguments_are_fixed():
    """`mmssl.evaluation.knn.knn(bank, labels, queries, k, temperature, classes)`."""
    assert mmssl.evaluation.knn.knn is knn
    names = ['bank', 'labels', 'queries', 'k', 'temperature', 'classes']
    assert list(inspect.signature(knn).parameters) == names


def test_a_large_k_is_lowered_and_said():
    bank, labels = torch.eye(3), torch.tensor([0, 1, 1])
    with pytest.warns(UserWarning, match='k=10 lowered to the 3 images of the bank'):
        votes = knn(bank, labels, torch.eye(3)[:1], 10, 1.0, 2)
    assert votes[0].tolist() == pytest.approx([np.e, 2.0])


def test_lengths_do_not_matter_and_inputs_stay():
    bank, queries = torch.randn(9, 4).double(), torch.randn(5, 4).double()
    labels, kept = torch.arange(9) % 3, bank.clone()
    votes = knn(bank, labels, queries, 4, 0.1, 3)
    lengths = torch.rand(9, 1) + 0.1
    torch.testing.assert_close(knn(bank * lengths, labels, 7 * queries, 4, 0.1, 3), votes)
    assert torch.equal(bank, kept)


@pytest.mark.parametrize('bad', [float('nan'), float('inf')])
def test_what_is_not_finite_is_refused(bad):
    broken = torch.ones(2, 3)
    broken[1, 1] = bad
    for bank, queries in ((broken, torch.ones(1, 3)), (torch.ones(2, 3), broken)):
        with refuses('features'):
            knn(bank, torch.zeros(2, dtype=torch.long), queries, 1, 0.1, 2)


def test_an_empty_bank_is_refused():
    with pytest.raises(ValueError, match='at least one bank image'):
        knn(torch.ones(0, 3), torch.zeros(0, dtype=torch.long), torch.ones(1, 3), 1, 0.1, 2)


@given(
    rows=st.integers(1, 20),
    classes=st.integers(1, 8),
    top=st.integers(1, 6),
    seed=st.integers(0, 999),
)
def test_accuracy_counts_labels_among_the_highest(rows, classes, top, seed):
    rng = np.random.default_rng(seed)
    votes, labels = rng.normal(size=(rows, classes)), rng.integers(0, classes, rows)
    above = [(v > v[label]).sum() for v, label in zip(votes, labels, strict=True)]
    expected = 100 * np.mean([n < top for n in above])
    ours = accuracy(torch.from_numpy(votes), torch.from_numpy(labels), top)
    assert ours == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    ('k', 'temperature', 'key'),
    [
        (0, 0.07, 'k'),
        (-1, 0.07, 'k'),
        (2.5, 0.07, 'k'),
        (3, 0.0, 'temperature'),
        (3, -1, 'temperature'),
        (3, float('nan'), 'temperature'),
        (3, '0.07', 'temperature'),
    ],
)
def test_numbers_without_meaning_are_refused(k, temperature, key):
    x, labels = torch.eye(4), torch.arange(4)
    with refuses(key, [k] if key == 'k' else temperature):
        knn(x, labels, x, k, temperature, 4)


@pytest.mark.parametrize('ks', [(), 5, (5, 0), None])
def test_neighbours_are_a_list_of_numbers(ks):
    with refuses('k', ks):
        check_numbers(ks, 0.07)


def test_a_low_temperature_does_not_overflow_single_precision():
    """exp(1 / 0.005) is 7e86; the nearest image must still decide."""
    bank = torch.tensor([[1.0, 0.0], [0.99, 0.141], [0.98, 0.199]])
    votes = knn(bank, torch.tensor([2, 0, 1]), bank[:1], 3, 0.005, 3)
    expected = brute_force(
        *map(np.asarray, (bank.double(), [2, 0, 1], bank[:1].double())), 3, 0.005, 3
    )
    np.testing.assert_allclose(votes.numpy(), expected, rtol=1e-3)
    assert votes.argmax(1).tolist() == [2]
