"""Bad input that evaluation refuses: its key and value."""

from types import SimpleNamespace

import pytest
import torch

from mmssl.datasets.sources.base import numbered
from mmssl.evaluation import Accuracy, KNNLoop, SweepHook
from mmssl.evaluation.feature_loop import check_blocks, check_classes, layer
from mmssl.evaluation.knn import knn
from mmssl.evaluation.probe import Recipe, split
from mmssl.evaluation.probe_loop import recipe
from mmssl.evaluation.sanity_checks import check_filled, check_labels, refuse_non_finite

from ..helpers.refusals import refuses

FOLDERS = ('ant', 'bee', 'cat')
BROKEN = torch.tensor([[1.0, 2.0], [float('nan'), 0.0], [float('inf'), 0.0]])


def data(classes, labels=(0,)):
    return SimpleNamespace(classes=classes, labels=labels)


def search(bank, queries):
    knn(bank, torch.zeros(len(bank), dtype=torch.long), queries, 1, 0.1, 2)


def unread():
    """Measure the accuracy of a single image that could not be read."""
    metric = Accuracy()
    samples = dict(label=torch.tensor([0]), unreadable=['a.png: gone'])
    metric.process(dict(data_samples=samples), [dict(pred_scores=torch.tensor([1.0, 0.0]))])
    metric.evaluate(1)


def before_train(kind=torch.optim.SGD, clip=None, **settings):
    """Call the hook of a SweepHead with an optimizer."""
    optimizer = kind([torch.nn.Parameter(torch.ones(1))], lr=0.1, **settings)
    wrapper = SimpleNamespace(optimizer=optimizer, clip_grad_kwargs=clip)
    SweepHook().before_train(SimpleNamespace(optim_wrapper=wrapper))


NET = SimpleNamespace(stage_ends=(1, 3), weights_from=None)
# what is called, key, value, fact
TABLE = {
    'a mode of kNN': (lambda: KNNLoop(None, None, mode='tset'), 'mode', 'tset', 'val or test'),
    'a feature': (lambda: layer('pixel'), 'feature', 'pixel', 'pooled, pixels or dict(blocks='),
    'a setting of a feature': (
        lambda: layer(dict(block=2)), 'feature', dict(block=2), 'dict(blocks='),
    'no block': (lambda: check_blocks(NET, 0), 'feature.blocks', 0, '4 blocks'),
    'a block too many': (lambda: check_blocks(NET, 5), 'feature.blocks', 5, '4 blocks'),
    'sets of other classes': (
        lambda: check_classes(data(FOLDERS[1:]), data(FOLDERS)), 'bank', FOLDERS[1:],
        '1 of 3 classes (ant) are not among the 2 (bee, cat)'),
    'a bank with NaN': (lambda: search(BROKEN, BROKEN[:1]), 'features', None, '2 of 3'),
    'queries with infinity': (lambda: search(BROKEN[:1], BROKEN[1:]), 'features', None, '2 of 2'),
    'a tensor by its name': (
        lambda: refuse_non_finite(BROKEN[:2], 'patches of a'), 'patches of a', None, '1 of 2'),
    'a tensor by another key': (
        lambda: refuse_non_finite(BROKEN, 'a.pth: patches', 'file', 'a.pth'), 'file', 'a.pth',
        'a.pth: patches'),
    'a network left random': (
        lambda: check_filled(SimpleNamespace(backbone=NET), 'a.pth'), 'pretrained', 'a.pth', ''),
    'no labels': (
        lambda: check_labels(3, data((), ()), 'val_dataloader'), 'val_dataloader', None, ''),
    'fewer folders than outputs': (
        lambda: check_labels(5, data(FOLDERS), 'val_dataloader'), 'model.head.num_classes', 5,
        'val_dataloader: 3 classes (ant, bee, cat, ...) for a classifier of 5'),
    'more numbers than outputs': (
        lambda: check_labels(2, data(numbered([2])), 'val_dataloader'), 'model.head.num_classes', 2,
        'model.head.num_classes=3'),
    'nothing that could be read': (unread, 'dataset', None, 'mmssl data'),
    # probe
    'no rates': (Recipe(rates=()).check, 'probe.rates', (), ''),
    'a rate of 0': (Recipe(rates=(0.1, 0.0)).check, 'probe.rates', (0.1, 0.0), ''),
    'no decays': (Recipe(decays=()).check, 'probe.decays', (), ''),
    'a decay below 0': (Recipe(decays=(-1.0,)).check, 'probe.decays', (-1.0,), ''),
    'no epoch': (Recipe(epochs=0).check, 'probe.epochs', 0, ''),
    'no batch': (Recipe(batch=0).check, 'probe.batch', 0, ''),
    'nothing held out': (Recipe(held_out=0).check, 'probe.held_out', 0, ''),
    'everything held out': (lambda: recipe(dict(held_out=1.5)), 'probe.held_out', 1.5, '(0, 1)'),
    'a setting of a probe': (
        lambda: recipe(dict(epoch=3)), 'probe.epoch', 3, '(did you mean epochs?)'),
    'too few to train on': (
        lambda: split(torch.tensor([0, 1]), 0.9), 'probe.held_out', 0.9, '2 training images'),
    'too few to choose by': (
        lambda: split(torch.tensor([0, 1]), 0.1), 'probe.held_out', 0.1, '2 training images'),
    # sweep
    'another optimizer': (
        lambda: before_train(torch.optim.Adam), 'optim_wrapper.optimizer.type', 'Adam', 'SGD'),
    'weight decay': (
        lambda: before_train(weight_decay=0.1), 'optim_wrapper.optimizer.weight_decay', 0.1, ''),
    'clipped gradients': (
        lambda: before_train(clip=dict(max_norm=1)), 'optim_wrapper.clip_grad', dict(max_norm=1),
        ''),
}  # fmt: skip


@pytest.mark.parametrize(('call', 'key', 'value', 'fact'), TABLE.values(), ids=TABLE)
def test_evaluation(call, key, value, fact):
    with refuses(key, value) as caught:
        call()
    assert fact in str(caught.value)


def test_what_fits_passes():
    """The neighbours of what is refused."""
    check_blocks(NET, 4)
    check_classes(data(FOLDERS), data(FOLDERS))
    check_labels(5, data(numbered([2])), 'a list may leave the highest classes out')
    refuse_non_finite(BROKEN[:1], 'tokens')
    before_train()
    assert recipe(None) == Recipe()


@pytest.mark.parametrize(
    ('key', 'value'),
    [
        ('rates', 0.1),
        ('rates', ()),
        ('rates', ('0.1',)),
        ('rates', (0.1, 0)),
        ('decays', 1e-3),
        ('decays', (float('nan'),)),
        ('epochs', 2.5),
        ('batch', '512'),
        ('held_out', '0.1'),
    ],
)
def test_a_probe_of_other_kinds_of_numbers(key, value):
    with refuses(f'probe.{key}', value):
        recipe({key: value})
