"""Measure one encoder on one data set, into cells: what is stored already is not measured again."""

import logging
import warnings
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from mmengine.logging import print_log
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Subset

from ..analysis import correspondence as matching
from ..analysis.attention import attention_maps, block_attention
from ..analysis.similarity import choose_queries
from ..core import UserError
from ..evaluation import few_labels, knn, probe, segmentation
from ..evaluation.cache import cached
from ..evaluation.feature_extraction import Bank, extract
from ..evaluation.image_scores import ImageScores, of_hits, of_overlaps, of_values
from ..evaluation.knn_loop import TEMPERATURE
from ..evaluation.retrieval import average_precisions
from ..version import __version__
from .cells import Cell, Made, Store
from .data import OpenedData
from .encoders import LoadedEncoder, settings_of
from .suites import CORRESPONDENCE, DENSE, FINETUNE, MEASURES, OF_CLASSES, Suite

K = 20
# images that are encoded at once; on a CPU larger activations are given back to the system after
# each layer, and asking for them again takes longer than the layer
BATCH = {'cpu': 8, 'cuda': 64}
QUERIES = 6  # images whose neighbours and attention the page shows
NEIGHBOURS = 6
FEWEST_CELLS = 16  # of a grid that correspondence is measured on
SEED = 0

Finetune = Callable[[LoadedEncoder, OpenedData], dict[str, int]]


class Session(NamedTuple):
    """What measuring needs beside encoder and data: suite, cells, cache of features, workers."""

    suite: Suite
    store: Store
    cache: Path | None
    workers: int
    say: Callable[[str], None] = print
    finetune: Finetune | None = None
    finetune_settings: dict[str, Any] | None = None


def measure(encoder: LoadedEncoder, opened: OpenedData, session: Session) -> dict[str, Cell]:
    """Return the cells of an encoder on a data set by measure, and those that the page shows.

    Raises UserError for features that are not finite and for too many unreadable images.
    """
    maker = Maker(encoder, opened, session)
    makers = maker.makers()
    found = {}
    for name, make in makers.items():
        key = dict(
            encoder=encoder.identity,
            data=opened.fingerprints,
            settings=maker.settings(name),
        )
        place = (encoder.run.label, opened.data.name, name)
        cell, stored = session.store.cell(place, key, make, maker.described)
        found[name] = cell
        scores = cell.scores
        if scores is not None:
            again = ' (stored)' if stored else ''
            text = f'{opened.data.name}: {encoder.run.label}: {name} {scores.value():.1f}{again}'
            session.say(text)
        elif cell.content['why'] and name in MEASURES:
            session.say(
                f'{opened.data.name}: {encoder.run.label}: no {name}: {cell.content["why"]}'
            )
    return found


class Maker:
    """Makes the cells of one encoder on one data set; features are computed when first asked."""

    def __init__(self, encoder: LoadedEncoder, opened: OpenedData, session: Session) -> None:
        self.encoder = encoder
        self.opened = opened
        self.session = session
        self.suite = session.suite

    def makers(self) -> dict[str, Callable[[], Made]]:
        """Return what makes each cell, by its name."""
        kind = self.opened.data.kind
        wanted = [m.name for m in self.suite.measures(kind)]
        made: dict[str, Callable[[], Made]] = {'knn': self.knn, 'linear': self.linear}
        for size in few_labels.SIZES:
            made[f'few_labels_{size}'] = lambda size=size: self.few_labels(size)  # type: ignore[misc]
        made['retrieval'] = self.retrieval
        made |= {m.name: lambda m=m: self.segmentation(m.name) for m in DENSE}  # type: ignore[misc]
        made[CORRESPONDENCE.name] = self.correspondence
        found = {name: make for name, make in made.items() if name in wanted}
        if kind == 'classes' and self.session.finetune is not None:
            found[FINETUNE.name] = self.finetuned
        if kind == 'classes' and self.suite.classes:
            found['neighbours'] = self.neighbours
        return found | {'attention': self.attention}

    def settings(self, name: str) -> dict[str, Any]:
        """Return the settings that a cell depends on beside encoder and images."""
        accuracy = self.opened.data.accuracy
        sizes = [m.name for m in OF_CLASSES if m.name.startswith('few')]
        of: dict[str, dict[str, Any]] = {
            'knn': dict(k=K, temperature=TEMPERATURE, figure=accuracy),
            'linear': dict(probe=probe.Recipe()._asdict(), seed=SEED, figure=accuracy),
            **{
                size: dict(draws=few_labels.DRAWS, strength=few_labels.STRENGTH, figure=accuracy)
                for size in sizes
            },
            'knn_segmentation': dict(
                k=segmentation.K,
                temperature=segmentation.TEMPERATURE,
                patches=self.suite.patches,
                size=self.encoder.dense_size,
            ),
            'linear_segmentation': dict(
                probe=segmentation.RECIPE._asdict(),
                patches=self.suite.patches,
                size=self.encoder.dense_size,
                seed=SEED,
            ),
            'correspondence': dict(pairs=matching.COUNT, images=self.suite.pairs),
            'neighbours': dict(queries=QUERIES, neighbours=NEIGHBOURS),
            'attention': dict(queries=QUERIES),
            'finetune': dict(self.session.finetune_settings or {}, figure=accuracy),
        }
        return of.get(name, {})

    def described(self) -> dict[str, Any]:
        """Return what a cell's `result.json` records beside its figure."""
        run = self.encoder.run
        return dict(
            encoder=dict(
                asked=run.source,
                network=run.network,
                weights=self.encoder.identity['weights'],
                transform=self.encoder.preparation.pipeline,
                normalised={k: self.encoder.identity[k] for k in ('mean', 'std')},
            ),
            model=run.model,
            seed=run.seed,
            backbone=settings_of(self.encoder),
            data=self.opened.fingerprints,
        )

    @property
    def device(self) -> torch.device:
        """The device of the encoder."""
        found: torch.device = self.encoder.model.data_preprocessor.mean.device
        return found

    @property
    def batch(self) -> int:
        """How many images are encoded at once."""
        return BATCH['cuda' if self.device.type == 'cuda' else 'cpu']

    # class folders -------------------------------------------------------------------------------
    @cached_property
    def features(self) -> tuple[Bank, Bank]:
        """Features of the training and of the test images, stored in the cache."""
        self.opened.use(self.encoder.preparation.pipeline)
        found = []
        for part in ('train', 'test'):
            images = self.opened.train if part == 'train' else self.opened.test
            name = f'{self.opened.data.name}/{part}'
            key = dict(
                encoder=self.encoder.identity,
                data={k: v for k, v in self.opened.fingerprints[part].items() if k != 'name'},
                version=__version__,
            )

            def make(images: Any = images, name: str = name) -> Bank:
                loader = DataLoader(images, self.batch, num_workers=self.session.workers)
                return extract(self.encoder.model, loader, name)

            bank = cached(key, self.session.cache, make)
            found.append(Bank(*(tensor.to(self.device) for tensor in bank)))
        return found[0], found[1]

    def _scores(self, hits: NDArray[Any]) -> ImageScores:
        labels = self.features[1].labels.cpu().numpy()
        return of_hits(hits.astype(float), labels, self.opened.classes, self.opened.data.accuracy)

    def _answers(self, scores: Tensor, facts: dict[str, Any]) -> Made:
        """Return the cell of scores (Q, classes) of the test images."""
        query = self.features[1]
        predicted = scores.argmax(1)
        arrays = dict(
            predicted=predicted.cpu().numpy(),
            labels=query.labels.cpu().numpy(),
            indices=query.indices.cpu().numpy(),
        )
        return Made(self._scores((predicted == query.labels).cpu().numpy()), arrays, facts)

    def knn(self) -> Made:
        """Return the accuracy of the vote of the nearest training images."""
        bank, query = self.features
        k = min(K, len(bank.labels))
        sets = bank.features, bank.labels, query.features
        votes = knn.knn(*sets, k, TEMPERATURE, self.opened.classes)
        return self._answers(votes, dict(k=k, temperature=TEMPERATURE))

    def linear(self) -> Made:
        """Return the accuracy of a linear layer chosen on held-out training images."""
        bank, query = self.features
        recipe = probe.Recipe()
        scale = probe.Scale.of(bank.features)
        x = scale(bank.features)
        classes = self.opened.classes
        try:
            rows = probe.split(bank.labels, recipe.held_out, SEED)
        except UserError as error:
            return Made(why=str(error))
        choice = probe.choose(x, bank.labels, classes, recipe, rows, SEED)
        pair = recipe.grid()[choice.best]
        layer = probe.train(x, bank.labels, classes, [pair], recipe, SEED)
        rate, decay = pair
        if rate in (min(recipe.rates), max(recipe.rates)):
            print_log(
                f'{self.encoder.run.label} on {self.opened.data.name}: the best rate of the linear '
                f'layer, {rate:g}, is at an end of the grid',
                logger='current',
                level=logging.WARNING,
            )
        facts = dict(rate=rate, decay=decay, held_out_top1=choice.percent[choice.best])
        return self._answers(layer.logits(scale(query.features))[:, 0], facts)

    def few_labels(self, size: int) -> Made:
        """Return the accuracy with ``size`` labelled images a class, a mean over draws."""
        bank, query = self.features
        if size > few_labels.smallest_class(bank.labels):
            return Made(why=f'a class has fewer than {size} training images')
        hits = few_labels.few_label_hits(
            bank.features, bank.labels, query.features, query.labels, size
        ).double()
        draws = [self._scores(each.numpy()).value() for each in hits]
        return Made(self._scores(hits.mean(0).numpy()), facts=dict(of_draws=draws))

    def retrieval(self) -> Made:
        """Return the mean average precision of the test images over the training images."""
        bank, query = self.features
        sets = bank.features, bank.labels, query.features, query.labels
        return Made(of_values(average_precisions(*sets).cpu().numpy()))

    def finetuned(self) -> Made:
        """Return the accuracy of the fine-tuned network, over all test images."""
        assert self.session.finetune is not None
        predicted = self.session.finetune(self.encoder, self.opened)
        test = self.opened.test
        rows = [i for i in range(len(test)) if test.name(i) in predicted]
        labels = np.array([test.labels[i] for i in rows])
        answers = np.array([predicted[test.name(i)] for i in rows])
        scores = of_hits(
            (answers == labels).astype(float),
            labels,
            self.opened.classes,
            self.opened.data.accuracy,
        )
        return Made(scores, dict(predicted=answers, labels=labels, indices=np.array(rows)))

    # patches -------------------------------------------------------------------------------------
    def _batches(self, images: Any) -> Iterator[tuple[Tensor, list[Any]]]:
        """Yield views (B, 3, S, S) and the masks (H, W) of each batch of a set of label maps."""
        size = self.batch // 4  # of views that have four times the pixels
        loader = DataLoader(images, size, num_workers=self.session.workers, collate_fn=list)
        for items in loader:
            kept = [item for item in items if not item['data_samples']['unreadable']]
            lost = [text for item in items if (text := item['data_samples']['unreadable'])]
            for report in lost:
                print_log(f'left out: {report}', logger='current', level=logging.WARNING)
            if kept:
                masks = [item['data_samples']['label'].numpy() for item in kept]
                yield torch.stack([item['inputs'] for item in kept]), masks

    def _inputs(self, views: Tensor) -> Tensor:
        found: Tensor = self.encoder.model.data_preprocessor(dict(inputs=views))['inputs']
        return found

    @cached_property
    def patches(self) -> tuple[segmentation.Patches, tuple[int, int]]:
        """Patches of the training images with their labels, and the grid of an image."""
        train = self.opened.train
        quota = max(1, self.suite.patches // len(train))
        features, shares, images, number = [], [], [], 0
        grid = (0, 0)
        for views, masks in self._batches(train):
            encoded = self.encoder.model.encode(self._inputs(views))
            grid = encoded.grid
            for tokens, mask in zip(encoded.tokens.float(), masks, strict=True):
                labels = segmentation.patch_shares(mask, grid, self.opened.classes)
                rows = segmentation.sample_patches(tokens, labels, quota, number)
                features.append(tokens[rows].clone())
                shares.append(labels[rows].to(tokens.device))
                images.append(torch.full((len(rows),), number, device=tokens.device))
                number += 1
        return segmentation.Patches(*map(torch.cat, (features, shares, images))), grid

    @cached_property
    def dense_counts(self) -> tuple[NDArray[Any], NDArray[Any], dict[str, Any]]:
        """Pixels (N, 3, classes) that kNN and the linear layer get right, and the layer's pair."""
        self.opened.use(self.encoder.dense_pipeline)
        bank, grid = self.patches
        layer = segmentation.train_linear(bank, seed=SEED)
        counts: tuple[list[NDArray[Any]], list[NDArray[Any]]] = ([], [])
        for views, masks in self._batches(self.opened.test):
            encoded = self.encoder.model.encode(self._inputs(views))
            tokens = encoded.tokens.float().flatten(0, 1)  # (B * N, C)
            both = segmentation.knn_shares(bank, tokens), layer.scores(tokens)
            for scores, found in zip(both, counts, strict=True):
                each = scores.unflatten(0, (len(masks), -1))  # (B, N, classes)
                found += [
                    segmentation.pixel_counts(of_image, grid, mask)
                    for of_image, mask in zip(each, masks, strict=True)
                ]
        facts = dict(rate=layer.rate, decay=layer.decay, grid=list(grid), patches=len(bank.images))
        return np.stack(counts[0]), np.stack(counts[1]), facts

    @torch.no_grad()
    def segmentation(self, name: str) -> Made:
        """Return the mean IoU by kNN or by the linear layer."""
        if (cells := self._cells(self.encoder.dense_size)) < FEWEST_CELLS:
            return Made(why=f'the network gives {cells} patches of an image')
        try:
            by_knn, by_layer, facts = self.dense_counts
        except UserError as error:
            if error.key != 'probe.held_out':
                raise
            return Made(why=str(error))
        counts = by_knn if name == 'knn_segmentation' else by_layer
        return Made(of_overlaps(counts), facts=facts)

    @torch.no_grad()
    def _cells(self, size: int) -> int:
        """Return how many patches an image of ``size`` pixels has."""
        channels = self.encoder.model.backbone.in_channels
        image = torch.zeros(1, channels, size, size).byte()
        encoded = self.encoder.model.encode(self._inputs(image))
        height, width = encoded.grid
        return int(height * width)

    @torch.no_grad()
    def correspondence(self) -> Made:
        """Return the share of right matches between images and their mirrored copies."""
        size = self.encoder.preparation.size
        if (cells := self._cells(size)) < FEWEST_CELLS:
            return Made(why=f'the network gives {cells} patches of an image')
        self.opened.use(self.encoder.preparation.pipeline)
        images = self.opened.test
        count = min(self.suite.pairs, len(images))
        rows = [i * len(images) // count for i in range(count)]
        loader = DataLoader(Subset(images, rows), self.batch, collate_fn=list)
        shares: list[float] = []
        for items in loader:
            views = [item['inputs'] for item in items if not item['data_samples']['unreadable']]
            others = [matching.mirrored(v, len(shares) + i) for i, v in enumerate(views)]
            one, two = (self.encoder.model.encode(self._inputs(torch.stack(v)))
                        for v in (views, others))  # fmt: skip
            cell = (size / one.grid[1], size / one.grid[0])
            shares += [
                matching.mirror_score(a, b, one.grid, cell).accuracy
                for a, b in zip(one.tokens, two.tokens, strict=True)
            ]
        return Made(of_values(np.array(shares)), facts=dict(grid=list(one.grid)))

    # what the page shows -------------------------------------------------------------------------
    def _queries(self) -> list[int]:
        test = self.opened.test
        labels = test.labels if self.opened.data.kind == 'classes' else []
        return choose_queries(labels, len(test), min(QUERIES, len(test)))

    def neighbours(self) -> Made:
        """Return the nearest training images (Q, n) of some test images (Q,)."""
        bank, query = self.features
        place = {int(index): row for row, index in enumerate(query.indices)}
        chosen = [i for i in self._queries() if i in place]
        rows = torch.tensor([place[i] for i in chosen])
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # of banks that are smaller
            _, found = knn.nearest(bank.features, query.features[rows], NEIGHBOURS)
        arrays = dict(queries=np.array(chosen), neighbours=bank.indices[found].cpu().numpy())
        return Made(arrays=arrays)

    @torch.no_grad()
    def attention(self) -> Made:
        """Return attention maps (Q, h, w) of the last block, means over heads, of some images."""
        backbone = self.encoder.model.backbone
        try:
            backbone.attention_layers()
        except UserError:
            return Made(why='the network has no attention')
        self.opened.use(self.encoder.preparation.pipeline)
        chosen = self._queries()
        views = torch.stack([self.opened.test[i]['inputs'] for i in chosen])
        found = block_attention(backbone, self._inputs(views))
        maps = attention_maps(found, 'cls' if found.cls else 'mean').mean(1)
        arrays = dict(queries=np.array(chosen), maps=maps.float().cpu().numpy())
        return Made(arrays=arrays, facts=dict(query='cls' if found.cls else 'mean'))
