"""Nearest neighbours of 50,000 queries among 1.28 million, 384 wide, beside the common forms.

textbook  what is copied from project to project: all cosines of a chunk of queries at once, topk,
          one-hot votes (DINO's ``eval_knn.py`` takes a hundredth of the queries for a chunk)
sklearn   KNeighborsClassifier, brute force
faiss     IndexFlatIP, then the same votes; where it is installed

On a CPU a sample of the queries is run, and the time of all is told in proportion. Features are
made: unit vectors around the centres of 1,000 classes. MB are those above the features, torch's.
"""

import importlib.util
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from mmssl.evaluation.knn import knn

from .timing import DEVICE, Builders, Comparison, Taken, spread

BANK, QUERIES, WIDTH, CLASSES = 1_281_167, 50_000, 384, 1000
K, TEMPERATURE = 20, 0.07
Form = Callable[[], Tensor]


def made(count: int, centres: Tensor) -> tuple[Tensor, Tensor]:
    """Draw unit features (count, WIDTH) around the centres, and their classes (count,)."""
    labels = torch.arange(count, device=centres.device) % len(centres)
    noise = torch.randn(count, WIDTH, device=centres.device)
    return F.normalize(centres[labels] + 1.5 * noise, dim=1), labels


def textbook(bank: Tensor, labels: Tensor, queries: Tensor, chunk: int) -> Tensor:
    """Classes (Q,) by one product and one topk for each chunk."""
    found, columns = [], bank.T
    for part in queries.split(chunk):
        cosines, index = (part @ columns).topk(K, dim=1)
        votes = F.one_hot(labels[index], CLASSES) * (cosines / TEMPERATURE).exp()[..., None]
        found.append(votes.sum(1).argmax(1))
    return torch.cat(found)


def sklearn(bank: Tensor, labels: Tensor, queries: Tensor) -> Form:
    """Fit a classifier, return its call."""
    from sklearn.neighbors import KNeighborsClassifier

    # between unit vectors |a - b|^2 = 2 - 2 cos: the same neighbours and votes
    model = KNeighborsClassifier(
        K, algorithm='brute', weights=lambda d: np.exp(-(d**2) / 2 / TEMPERATURE)
    )
    model.fit(bank.cpu().numpy(), labels.cpu().numpy())
    return lambda: torch.from_numpy(model.predict(queries.cpu().numpy()))


def faiss(bank: Tensor, labels: Tensor, queries: Tensor) -> Form:
    """Build an index, return its search and the votes."""
    index = importlib.import_module('faiss').IndexFlatIP(WIDTH)
    index.add(bank.cpu().numpy())

    def search() -> Tensor:
        cosines, at = (torch.from_numpy(x) for x in index.search(queries.cpu().numpy(), K))
        votes = torch.zeros(len(queries), CLASSES)
        votes.scatter_add_(1, labels.cpu()[at], (cosines / TEMPERATURE).exp())
        return votes.argmax(1)

    return search


def forms(bank: Tensor, labels: Tensor, queries: Tensor, chunk: int) -> dict[str, Form]:
    """Everything that can be compared here, ours first."""
    built: dict[str, Form] = dict(
        ours=lambda: knn(bank, labels, queries, K, TEMPERATURE, CLASSES).argmax(1).cpu(),
        textbook=lambda: textbook(bank, labels, queries, chunk).cpu(),
    )
    for name, make in dict(sklearn=sklearn, faiss=faiss).items():
        if importlib.util.find_spec(name):
            built[name] = make(bank, labels, queries)
    return built


def comparisons(
    bank: int = BANK,
    queries: int = QUERIES if DEVICE == 'cuda' else QUERIES // 100,
    chunk: int = QUERIES // 100,
) -> Builders:
    """One search, by the textbook in chunks of queries."""

    def searches(_: Path) -> Comparison:
        centres = torch.randn(CLASSES, WIDTH, device=DEVICE)
        stored, asked = made(bank, centres), made(queries, centres)[0]
        built = forms(*stored, asked, chunk)
        found = {name: form() for name, form in built.items()}

        def facts(name: str, taken: Taken) -> dict[str, str]:
            same = (found[name] == found['ours']).float().mean()
            whole = spread(taken[name])['median'] * QUERIES / queries
            return {f's, {QUERIES:,}': f'{whole:.0f}', 'same class': f'{100 * same:.1f} %'}

        counted = ('ours', 'textbook')  # torch's memory
        return Comparison(built, ['textbook', 'sklearn', 'faiss'], peaks=counted, facts=facts)

    return {f'{queries:,} queries, bank {bank:,}': searches}
