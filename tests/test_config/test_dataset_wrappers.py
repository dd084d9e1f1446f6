"""mmengine's wrappers of data sets in configs train as one ImageDataset, and resume exactly."""

from copy import deepcopy

import pytest

from mmssl.apis import load_config

from ..helpers.refusals import refuses
from ..helpers.tiny import losses, make_runner
from ..helpers.training_state import interrupt

pytestmark = pytest.mark.slow

ALONE = dict(val_cfg=None, val_dataloader=None, val_evaluator=None, train_cfg__max_epochs=2)
VIEW = dict(type='RandomView', size=16, scale=(0.3, 1.0), jitter=(0.4, 0.4, 0.2, 0.1))
PIPELINE = [dict(type='LoadImage'), dict(type='MultiView', views=[dict(VIEW, repeat=2)])]


def images(split, **settings):
    return dict(type='ImageDataset', split=split, pipeline=PIPELINE, **settings)


def wrapped(**settings):
    return dict(train_dataloader__dataset=dict(settings, _delete_=True))


CONCAT = dict(type='ConcatDataset', datasets=[images('train'), images('val')])
WRAPPED = {
    'concat': (wrapped(**CONCAT), 33, [1.0] * 33),
    'repeat': (wrapped(type='RepeatDataset', dataset=images('val'), times=3), 27, [3.0] * 9),
    'balance': (
        wrapped(
            type='ClassBalancedDataset',
            dataset=dict(
                type='ConcatDataset',
                datasets=[images('train', share=(0, 0.5)), images('val', per_class=1)],
            ),
            oversample_thr=0.7,
        ),
        round(15 * (0.7 * 3) ** 0.5),
        [(0.7 * 3) ** 0.5] * 15,
    ),
    'of mmengine': (
        wrapped(type='mmengine.RepeatDataset', dataset=CONCAT, times=2),
        66,
        [2.0] * 33,
    ),
}


def options(settings):
    return {key.replace('__', '.'): value for key, value in deepcopy(settings).items()}


@pytest.mark.parametrize(('settings', 'length', 'factors'), WRAPPED.values(), ids=WRAPPED)
def test_a_run_reads_them_and_resumes_exactly(tiny_config, tmp_path, settings, length, factors):
    settings = ALONE | settings
    cfg = load_config(tiny_config(), options(settings))
    assert cfg.train_dataloader.dataset.type == 'ImageDataset'
    assert cfg.train_dataloader.dataset.pipeline == PIPELINE
    whole = make_runner(tiny_config(), tmp_path / 'whole', **deepcopy(settings))
    dataset = whole.train_dataloader.dataset
    assert dataset.epoch_length == length
    found = dataset.repeat_factors
    assert [1.0] * len(dataset) == factors if found is None else found == pytest.approx(factors)
    expected = losses(whole)
    assert len(expected) == 2 * (length // 6)
    first = make_runner(tiny_config(), tmp_path / 'cut', **deepcopy(settings))
    seen = interrupt(first, length // 6 + 1)  # within the second epoch
    again = dict(settings, resume=True, load_from=str(tmp_path / 'cut' / 'cut.pth'))
    assert seen + losses(make_runner(tiny_config(), tmp_path / 'cut', **again)) == expected


def test_pipelines_that_differ(tiny_config):
    parts = [images('train'), dict(images('val'), pipeline=PIPELINE[:1])]
    with refuses('train_dataloader.dataset.datasets', 'ConcatDataset'):
        load_config(tiny_config(), options(wrapped(type='ConcatDataset', datasets=parts)))


def test_other_arguments(tiny_config):
    with refuses('train_dataloader.dataset.lazy_init', True):
        load_config(tiny_config(), options(wrapped(**CONCAT, lazy_init=True)))
