"""Nearest neighbours of 50,000 queries among 1.28 million, 384 wide, beside the common forms.

textbook  what is copied from project to project: all cosines of a chunk of queries at once, topk,
          one-hot votes (DINO's ``eval_knn.py`` takes a hundredth of the queries for a chunk)
sklearn   KNeighborsClassifier, brute force
faiss     IndexFlatIP, then the same votes; where it is installed

On a CPU a sample of the queries is run, and the time of all is told in proportion. Features are
made: unit vectors around the centres of 1,000 classes. Printed: median seconds, ratios (ours /
form), peak MB above the features (torch's, not those of other libraries) and on how many queries a
form names the same class.
"""

import argparse
import importlib.util
import statistics
from collections.abc import Callable, Sequence

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.nn import functional as F
from turns import DEVICE, in_turns, peak, ratio

from mmssl.cli.options import run_tool
from mmssl.evaluation.knn import knn

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
    import faiss as library

    index = library.IndexFlatIP(WIDTH)
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


def main(argv: Sequence[str] | None = None) -> list[list[str]]:
    """Measure, print the table and return its rows."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    sample = QUERIES if DEVICE == 'cuda' else QUERIES // 100
    parser.add_argument('--bank', type=int, default=BANK)
    parser.add_argument('--queries', type=int, default=sample, help=f'of {QUERIES}')
    parser.add_argument('--chunk', type=int, default=QUERIES // 100, help='of the textbook form')
    parser.add_argument('--rounds', type=int, default=3)
    args = parser.parse_args(argv)
    torch.manual_seed(0)
    centres = torch.randn(CLASSES, WIDTH, device=DEVICE)
    (bank, labels), (queries, _) = made(args.bank, centres), made(args.queries, centres)
    built = forms(bank, labels, queries, args.chunk)
    found = {name: form() for name, form in built.items()}
    taken = in_turns(built, args.rounds)
    table, rows = Table('form', 's', f's, {QUERIES:,}', 'ours / form', 'MB', 'same class'), []
    for name, times in taken.items():
        middle = statistics.median(times)
        rows.append(
            [
                name,
                f'{middle:.2f}',
                f'{middle * QUERIES / args.queries:.0f}',
                ratio(taken['ours'], times),
                f'{peak(built[name]):.0f}' if name in ('ours', 'textbook') else '',
                f'{100 * (found[name] == found["ours"]).float().mean():.1f} %',
            ]
        )
        table.add_row(*rows[-1])
    console = Console(width=100)
    console.print(table)
    place = f'{DEVICE}, {torch.get_num_threads()} threads'
    console.print(f'{args.queries:,} of {QUERIES:,} queries, bank {args.bank:,}, {place}')
    return rows


if __name__ == '__main__':
    run_tool(main)
