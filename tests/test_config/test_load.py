"""Errors in configs are reported before anything runs, with the key and the closest known names."""

import pytest

from mmssl.apis import load_config
from mmssl.config.defaults import DEFAULTS
from mmssl.core import UserError
from mmssl.registry import DATASETS, MODELS

from ..helpers.tiny import CONFIG, write_config


def variant(tmp_path, old, new):
    """Write the tiny config with one piece of text replaced."""
    path = write_config(tmp_path, tmp_path)
    text = path.read_text()
    assert text.count(old) == 1, old
    path.write_text(text.replace(old, new))
    return path


def argument(where, kind, key, near):
    """What is said of an argument that an object does not take."""
    return f"{where}: {kind} has no argument '{key}' (did you mean {near}"


def kind(where, name, near):
    """What is said of a type that nobody registered."""
    return f"{where}: type '{name}' is not registered (did you mean {near}"


PIPE = 'train_dataloader.dataset.pipeline'
# text of the file, what takes its place, what is said
IN_FILE = [
    ('train_cfg = ', 'train_config = ', "unknown key 'train_config' (did you mean train_cfg"),
    ("type='MoCoV3'", "type='MoCoV33'", kind('model', 'MoCoV33', 'MoCoV3')),
    ("type='RandomView'", "type='RandView'", kind(f'{PIPE}[1].views[0]', 'RandView', 'RandomView')),
    ('size=16, scale', 'sise=16, scale', argument('views[0]', 'RandomView', 'sise', 'size')),
    ('max_epochs=3', 'max_epoch=3', argument('train_cfg', 'EpochLoop', 'max_epoch', 'max_epochs')),
    ("type='AdamW'", "type='AdamWW'", kind('optim_wrapper.optimizer', 'AdamWW', 'AdamW')),
    (
        'final=0.0, warmup',
        'final=0.0, warm_up',
        argument('param_scheduler[0]', 'ScheduleParam', 'warm_up', 'warmup'),
    ),
    (
        'freeze_patch_embed',
        'frozen_patch_embed',
        argument('model.backbone', 'VisionTransformer', 'frozen_patch_embed', 'freeze_patch_embed'),
    ),
    ('ture=0.2, scaled', 'tur=0.2, scaled', argument('head', 'ContrastiveHead', 'temperatur', 't')),
    (
        'batch_size=4,',
        "batch_size=4, sampler=dict(type='EpochSampler', shufle=False),",
        argument('val_dataloader.sampler', 'EpochSampler', 'shufle', 'shuffle'),
    ),
    (
        'logger=dict(interval=1)',
        'logger=dict(intervall=1)',
        argument('default_hooks.logger', 'LoggerHook', 'intervall', 'interval'),
    ),
    ('_base_/pretrain.py', '_base_/pretrian.py', 'pretrian.py'),
    ('data_root = ', 'data_root = = ', 'SyntaxError: invalid syntax'),
    ('max_epochs=3', 'max_epochs=epochs', "NameError: name 'epochs' is not defined"),
    ('max_epochs=3', 'max_epochs=1 // 0', 'ZeroDivisionError: '),
]


@pytest.mark.parametrize(('old', 'new', 'message'), IN_FILE, ids=[new for _, new, _ in IN_FILE])
def test_mistakes_in_a_file(tmp_path, old, new, message):
    path = variant(tmp_path, old, new)
    with pytest.raises(UserError) as caught:
        load_config(path)
    assert str(caught.value).startswith(f'{path}: ')
    assert message in str(caught.value)
    assert '\n' not in str(caught.value)


ON_COMMAND_LINE = {
    'traindataloader.batch_size': (4, "'traindataloader' (did you mean train_dataloader"),
    'views': ([], "'views' is a helper name of the file, already used up"),
    'crop.size': (32, "'crop' is a helper name"),
    'model.backbone.archi': (
        'tiny',
        argument('model.backbone', 'VisionTransformer', 'archi', 'arch'),
    ),
    'model.backbone.type': ('ResNets', kind('model.backbone', 'ResNets', 'ResNet')),
    f'{PIPE}.0.type': ('LoadImages', kind(f'{PIPE}[0]', 'LoadImages', 'LoadImage')),
    f'{PIPE}.7.type': ('LoadImage', '--cfg-options: '),
    'train_dataloader.dataset.splits': (
        'val',
        argument('train_dataloader.dataset', 'ImageDataset', 'splits', 'split'),
    ),
    'train_dataloader.batchsize': (3, "'batchsize' (did you mean batch_size"),
    'train_dataloader.batch_size': (0, 'batch_size=0: give a whole number of at least 1'),
    'train_dataloader.num_workers': (-1, 'num_workers=-1: give a whole number of at least 0'),
    'optim_wrapper.optimizer.lr': ('abc', "lr='abc': give a number of at least 0"),
    'optim_wrapper.clip_grad.maxnorm': (1, "'maxnorm' (did you mean max_norm"),
    'auto_scale_lr.base_batch': (3, "'base_batch' (did you mean base_batch_size"),
    'env_cfg.cudnn_benchmarkk': (True, "'cudnn_benchmarkk' (did you mean cudnn_benchmark"),
    'randomness.sed': (1, "'sed' (did you mean seed"),
    'val_cfg.bank.splt': ('x', "'splt' (did you mean split"),
    'visualizer.vis_backends.0.type': ('Tensorbord', "'Tensorbord' is not registered"),
    'param_scheduler.0.warmup': (4, 'of lr: warm-up of 4 epochs is longer than train_cfg.max_ep'),
    'model.momentum.warmup': (5, 'model.momentum: warm-up of 5 epochs is longer'),
}


@pytest.mark.parametrize('key', ON_COMMAND_LINE)
def test_mistakes_in_cfg_options(tiny_config, key):
    value, message = ON_COMMAND_LINE[key]
    with pytest.raises(UserError) as caught:
        load_config(tiny_config(), {key: value})
    assert message in str(caught.value)
    assert '\n' not in str(caught.value)


def test_a_missing_file_suggests_its_neighbours(tiny_config):
    path = tiny_config().with_name('tiny_vitt.py')
    with pytest.raises(UserError, match=r'no such config file \(did you mean .*tiny_vit\.py'):
        load_config(path)


def test_unknown_arguments_of_a_models_curve_are_named_when_it_is_built(tiny_config):
    cfg = load_config(tiny_config(), {'model.momentum.strat': 0.9})
    with pytest.raises(UserError, match=r"model.momentum: .* 'strat' \(did you mean start"):
        MODELS.build(cfg.model)


def roots(node):
    """Every data_root below a node."""
    if isinstance(node, dict):
        found = [node['data_root']] if 'data_root' in node else []
        return found + [r for v in node.values() for r in roots(v)]
    return [r for v in node for r in roots(v)] if isinstance(node, (list, tuple)) else []


def test_data_root_reaches_every_data_set(tiny_config, image_folder, tmp_path):
    for options, expected in (
        ({}, str(image_folder)),
        ({'data_root': str(tmp_path)}, str(tmp_path)),
    ):
        cfg = load_config(tiny_config(), options)
        found = [roots(cfg[f'{mode}_dataloader']) for mode in ('train', 'val')]
        assert found == [[expected], [expected]]
    assert len(DATASETS.build(load_config(tiny_config()).train_dataloader.dataset)) == 24


def test_a_data_set_of_its_own_folder_keeps_it(tiny_config, tmp_path):
    cfg = load_config(
        tiny_config(), {'data_root': 'here', 'val_dataloader.dataset.data_root': 'there'}
    )
    assert (roots(cfg.train_dataloader), roots(cfg.val_dataloader)) == (['here'], ['there'])


def test_helper_names_are_gone_and_options_are_last(tiny_config):
    cfg = load_config(tiny_config(), {'train_cfg.max_epochs': 7, 'model.head.temperature': 0.5})
    assert not {'crop', 'views'} & set(cfg)
    assert (cfg.train_cfg.max_epochs, cfg.model.head.temperature) == (7, 0.5)
    assert cfg.train_cfg.type == 'EpochLoop'  # from the base


def test_a_helper_of_the_base_may_be_read_by_name(tmp_path):
    base = tmp_path / 'base.py'
    base.write_text('width = 16\n')
    path = tmp_path / 'config.py'
    path.write_text(
        "_base_ = ['./base.py']\nmodel = dict(type='MLP', dims=({{_base_.width}}, 8))\n"
    )
    cfg = load_config(path)
    assert MODELS.build(cfg.model).dims == (16, 8)
    assert 'width' not in cfg


def test_the_tiny_config_is_what_users_write():
    """The config of the tests has no more lines than the published ones may have."""
    lines = [line for line in CONFIG.splitlines() if line.strip()]
    assert len(lines) <= 60


# defaults -----------------------------------------------------------------------------------------
MODEL = "model = dict(type='MLP', dims=(8, 8))\n"


def hooks(tmp_path, text, base=''):
    """Return the default hooks of a config with this text, over a base with another."""
    (tmp_path / 'base.py').write_text(base)
    path = tmp_path / 'config.py'
    path.write_text(f"_base_ = './base.py'\n{MODEL}{text}\n")
    return load_config(path).default_hooks


def test_a_config_without_a_base_has_all_defaults(tmp_path):
    path = tmp_path / 'config.py'
    path.write_text(MODEL)
    cfg = load_config(path).to_dict()
    assert {key: cfg[key] for key in DEFAULTS} == DEFAULTS


def test_a_configs_own_keys_are_merged_over_the_defaults(tmp_path):
    found = hooks(tmp_path, 'default_hooks = dict(checkpoint=dict(interval=1), health=None)')
    assert found.checkpoint == {**DEFAULTS['default_hooks']['checkpoint'], 'interval': 1}
    assert found.health is None and found.timer == dict(type='IterTimerHook')
    found = hooks(
        tmp_path,
        'default_hooks = dict(ema=None)',
        "default_hooks = dict(ema=dict(type='EMAHook'), logger=dict(interval=7))",
    )
    assert found.ema is None and found.logger == dict(type='LoggerHook', interval=7)
    assert DEFAULTS['default_hooks']['logger']['interval'] == 50, 'changed in place'


@pytest.mark.parametrize('base', ['', 'default_hooks = dict(checkpoint=dict(interval=7))'])
def test_delete_replaces_the_defaults_below_any_base(tmp_path, base):
    found = hooks(tmp_path, 'default_hooks = dict(_delete_=True, logger=dict(interval=1))', base)
    assert found == dict(logger=dict(interval=1))
    other = "dict(_delete_=True, type='CheckpointHook', save_best='knn/top1')"
    found = hooks(tmp_path, f'default_hooks = dict(checkpoint={other})', base)
    assert found.checkpoint == dict(type='CheckpointHook', save_best='knn/top1')
    assert found.timer == dict(type='IterTimerHook')


def test_a_default_of_another_kind_is_named(tmp_path):
    with pytest.raises(UserError, match=r'config\.py: TypeError: log_level=.* cannot inherit'):
        hooks(tmp_path, 'log_level = dict(a=1)')
