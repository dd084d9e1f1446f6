"""Errors in configs are reported before anything runs, with the key, value and close names."""

import math
from pathlib import Path

import pytest

from mmssl.apis import load_config
from mmssl.config import pretrained
from mmssl.config.check import check_call
from mmssl.config.load import read_config_file
from mmssl.core.errors import UserErrors
from mmssl.registry import MODELS

from ..helpers.paths import REPO
from ..helpers.refusals import refuses
from ..helpers.tiny import write_config

KNN = REPO / 'configs' / 'knn_in1k.py'
PIPE = 'train_dataloader.dataset.pipeline'
SCHEDULE = dict(max_epochs=3, val_interval=1)
# text of the file, what takes its place, key, value, and what the message must tell beside them
IN_FILE = [
    ('train_cfg = ', 'train_config = ', 'train_config', SCHEDULE, 'did you mean train_cfg'),
    ("type='MoCoV3'", "type='MoCoV33'", 'model.type', 'MoCoV33', 'did you mean MoCoV3'),
    (
        "type='RandomView'",
        "type='RandView'",
        f'{PIPE}.1.views.0.type',
        'RandView',
        'did you mean RandomView',
    ),
    ('size=16, scale', 'sise=16, scale', f'{PIPE}.1.views.0.sise', 16, 'did you mean size'),
    ('max_epochs=3', 'max_epoch=3', 'train_cfg.max_epoch', 3, 'did you mean max_epochs'),
    ("type='AdamW'", "type='AdamWW'", 'optim_wrapper.optimizer.type', 'AdamWW', 'AdamW'),
    (
        'final=0.0, warmup',
        'final=0.0, warm_up',
        'param_scheduler.0.warm_up',
        1,
        "ScheduleParam has no argument 'warm_up' (did you mean warmup",
    ),
    (
        'freeze_patch_embed',
        'frozen_patch_embed',
        'model.backbone.frozen_patch_embed',
        True,
        "VisionTransformer has no argument 'frozen_patch_embed' (did you mean freeze_patch_embed",
    ),
    ('ture=0.2, scaled', 'tur=0.2, scaled', 'model.head.temperatur', 0.2, 'did you mean temper'),
    (
        'batch_size=4,',
        "batch_size=4, sampler=dict(type='EpochSampler', shufle=False),",
        'val_dataloader.sampler.shufle',
        False,
        'did you mean shuffle',
    ),
    (
        'logger=dict(interval=1)',
        'logger=dict(intervall=1)',
        'default_hooks.logger.intervall',
        1,
        'did you mean interval',
    ),
    ('_base_/pretrain.py', '_base_/pretrian.py', 'file', Path, 'pretrian.py'),
    ('data_root = ', 'data_root = = ', 'file', Path, 'SyntaxError: invalid syntax'),
    ('max_epochs=3', 'max_epochs=epochs', 'file', Path, "name 'epochs' is not defined"),
    ('max_epochs=3', 'max_epochs=1 // 0', 'file', Path, 'ZeroDivisionError: '),
    ('max_epochs=3', "max_epochs=int('a\\nb')", 'file', Path, 'ValueError: '),
    ('data_root = ', 'log_level = dict(a=1)\ndata_root = ', 'file', Path, 'log_level='),
]


@pytest.mark.parametrize(
    ('old', 'new', 'key', 'value', 'fact'), IN_FILE, ids=[row[1][:40] for row in IN_FILE]
)
def test_mistakes_in_a_file(tmp_path, old, new, key, value, fact):
    path = write_config(tmp_path, tmp_path)
    text = path.read_text()
    assert text.count(old) == 1, old
    path.write_text(text.replace(old, new))
    with refuses(key, str(path) if value is Path else value) as caught:
        load_config(path)
    assert str(caught.value).startswith(f'{path}: ')
    assert fact in str(caught.value)


# key, its value, what the message must tell beside them
ON_COMMAND_LINE = [
    ('traindataloader.batch_size', 4, "'traindataloader' (did you mean train_dataloader"),
    ('views', [], "'views' is a helper"),
    ('crop.size', 32, "'crop' is a helper"),
    ('model.backbone.archi', 'tiny', 'did you mean arch'),
    ('model.backbone.type', 'ResNets', 'did you mean ResNet'),
    (f'{PIPE}.0.type', 'LoadImages', 'did you mean LoadImage'),
    ('train_dataloader.dataset.splits', 'val', 'did you mean split'),
    ('train_dataloader.batchsize', 3, 'did you mean batch_size'),
    ('train_dataloader.batch_size', 0, 'batch_size=0: give a whole number of at least 1'),
    ('train_dataloader.batch_size', 2.5, 'a whole number'),
    (f'{PIPE}.1.views.0.repeat', 1.5, 'a whole number'),
    (f'{PIPE}.1.views.0.repeat', 0, 'at least 1'),
    ('optim_wrapper.optimizer.lr', math.nan, ''),
    ('optim_wrapper.optimizer.lr', math.inf, ''),
    ('optim_wrapper.optimizer.weight_decay', -0.1, ''),
    ('randomness.seed', -1, ''),
    ('model.head.temperature', 'warm', 'above 0'),
    ('model.head.temperature', math.nan, 'above 0'),
    ('train_dataloader.num_workers', -1, 'a whole number of at least 0'),
    ('optim_wrapper.optimizer.lr', 'abc', "lr='abc': give a number of at least 0"),
    ('optim_wrapper.clip_grad.maxnorm', 1, 'did you mean max_norm'),
    ('auto_scale_lr.base_batch', 3, 'did you mean base_batch_size'),
    ('env_cfg.cudnn_benchmarkk', True, 'did you mean cudnn_benchmark'),
    ('randomness.sed', 1, 'did you mean seed'),
    ('val_cfg.bank.splt', 'x', 'did you mean split'),
    ('visualizer.vis_backends.0.type', 'Tensorbord', 'did you mean Tensorboard'),
    ('param_scheduler.0.warmup', 4, 'warm-up of 4 epochs is longer than train_cfg.max_epochs=3'),
    ('param_scheduler.0.delay', 3, 'of lr: warm-up of 4 epochs'),
    ('model.momentum.warmup', 5, 'warm-up of 5 epochs is longer'),
    ('model.momentum.delay', 7, 'warm-up of 7 epochs is longer'),
    ('param_scheduler.0.warmup', 4.5, '--cfg-options param_scheduler.0.warmup=3'),
    ('train_dataloader', None, 'train_cfg needs'),
    ('train_dataloader.dataset', None, ''),
    ('train_dataloader.dataset.pipeline', None, ''),
    ('train_dataloader.batch_size', None, ''),
    ('train_cfg.max_epochs', None, ''),
    ('optim_wrapper', None, 'train_cfg needs'),
    ('optim_wrapper.optimizer', None, ''),
    ('val_dataloader', None, 'val_cfg needs'),
    ('model.backbone', None, ''),
    ('model.type', None, ''),
    ('model', None, 'base for other configs'),
    ('pretrained', 'some.pth', 'no such file'),
]


@pytest.mark.parametrize(
    ('key', 'value', 'fact'), ON_COMMAND_LINE, ids=[row[0] for row in ON_COMMAND_LINE]
)
def test_mistakes_in_cfg_options(tiny_config, key, value, fact):
    at_fault = {'param_scheduler.0.delay': ('param_scheduler.0.warmup', 1)}  # the two add up
    with refuses(*at_fault.get(key, (key, value))) as caught:
        load_config(tiny_config(), {key: value})
    assert fact in str(caught.value)


def test_an_option_that_leads_nowhere(tiny_config):
    options = {f'{PIPE}.7.type': 'LoadImage'}
    with refuses(f'{PIPE}.7.type', 'LoadImage'):
        load_config(tiny_config(), options)


def test_a_missing_file_suggests_its_neighbours(tiny_config):
    path = tiny_config().with_name('tiny_vitt.py')
    with refuses('file', str(path)) as caught:
        load_config(path)
    assert 'did you mean ' in str(caught.value) and 'tiny_vit.py' in str(caught.value)
    with refuses('file', str(path)):
        read_config_file(path)


def test_an_argument_of_one_dict():
    with refuses('a.1.dept', 18) as caught:
        check_call(dict(type='ResNet', dept=18), MODELS, 'some.py', ('a', 1))
    assert str(caught.value).startswith('some.py: ') and 'depth' in str(caught.value)


# the encoder of an evaluation ---------------------------------------------------------------------
DESCRIBED = {'model.backbone.type': 'ResNet', 'model.backbone.depth': 50}
PLACE = 'model.backbone.init_cfg.checkpoint'
NEAR = 'moby_swin-tiny_3rdparty_8xb64-amp-coslr-300e_in1'


def require(**options):
    pretrained.require_pretrained(load_config(KNN, {**DESCRIBED, **options}))


def set_another():
    pretrained.set_pretrained(load_config(KNN, {**DESCRIBED, 'pretrained': 'a.pth'}), 'b.pth')


@pytest.mark.parametrize(
    ('call', 'key', 'value', 'fact'),
    [
        pytest.param(
            lambda: load_config(KNN, {**DESCRIBED, 'pretrained': 'a.pth', PLACE: 'b.pth'}),
            *('pretrained', 'a.pth', 'checkpoint=b.pth'),
            id='two-files',
        ),
        pytest.param(set_another, 'pretrained', 'a.pth', 'b.pth', id='another-file'),
        pytest.param(require, 'pretrained', None, 'add --cfg-options pretrained=', id='none'),
        pytest.param(
            lambda: require(pretrained='gone.pth'), 'pretrained', 'gone.pth', '', id='missing'
        ),
        pytest.param(
            lambda: require(pretrained=NEAR), 'pretrained', NEAR, f'did you mean {NEAR}k', id='near'
        ),
        pytest.param(
            lambda: load_config(KNN, {'pretrained': 'gone.pth'}),
            *('pretrained', 'gone.pth', ''),
            id='missing-undescribed',
        ),
        pytest.param(
            lambda: load_config(KNN, {'pretrained': 'random'}),
            *('pretrained', 'random', 'backbone.type='),
            id='random-undescribed',
        ),
        pytest.param(
            lambda: load_config(KNN, {'pretrained': 'https://a.org/x.pth'}),
            *('pretrained', 'https://a.org/x.pth', 'backbone.type='),
            id='address-undescribed',
        ),
        pytest.param(
            lambda: pretrained.require_pretrained(load_config(KNN, {'load_from': 'x.pth'})),
            *('model.backbone.type', None, 'knn_in1k.py'),
            id='no-network',
        ),
    ],
)
def test_encoders(call, key, value, fact):
    with refuses(key, value) as caught:
        call()
    assert fact in str(caught.value)


def test_mistakes_are_told_together(tiny_config):
    options = {
        'train_dataloader.batchsize': 3,
        'optim_wrapper.optimizer.lr': -1,
        'model.backbone.archi': 'tiny',
    }
    with pytest.raises(UserErrors) as caught:
        load_config(tiny_config(), options)
    assert {error.key: error.value for error in caught.value.errors} == options


def test_settings_that_do_not_fit_are_told_together(tiny_config):
    options = {'param_scheduler.0.warmup': 9, 'model.momentum.warmup': 7}
    with pytest.raises(UserErrors) as caught:
        load_config(tiny_config(), {**options, 'train_dataloader.sampler.shuffle': False})
    assert {error.key: error.value for error in caught.value.errors} == {
        **options,
        'train_dataloader.sampler.shuffle': False,
    }


def test_the_monitor_is_turned_off_by_one_key(tiny_config):
    cfg = load_config(tiny_config(), {'val_cfg': None})
    assert (cfg.val_dataloader, cfg.val_evaluator) == (None, None)


def test_a_scheduler_that_is_no_list(tiny_config, tmp_path):
    path = tmp_path / 'one.py'
    scheduler = "dict(_delete_=True, type='ScheduleParam', param_name='lr', final=0, warmup=9)"
    path.write_text(f"_base_ = '{tiny_config()}'\nparam_scheduler = {scheduler}\n")
    with refuses('param_scheduler.warmup', 9):
        load_config(path)
    load_config(path, {'param_scheduler.warmup': 3})
